import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Returns the time until the end of the test that a wait belongs to, milliseconds. Infinity if
 * nothing limits it.
 */
export type WaitLimit = () => number

const current = new AsyncLocalStorage<WaitLimit>()
let ofRunner: WaitLimit = () => Number.POSITIVE_INFINITY

/**
 * Sets the limit of waits that belong to no known test: the limit of the test that the runner
 * currently runs.
 */
export function setRunnerLimit(limit: WaitLimit): void {
  ofRunner = limit
}

/** Runs `work` for a test: waits of guests started in it end before the test does. */
export function withWaitLimit<T>(limit: WaitLimit, work: () => T): T {
  return current.run(limit, work)
}

/** Returns the limit for waits of a guest that is started in this context. */
export function currentWaitLimit(): WaitLimit {
  return current.getStore() ?? (() => ofRunner())
}

/** Timeout of a wait within the limit of its test. */
export interface BoundWait {
  readonly timeoutMs: number
  /** Hint if the test ends before the timeout; else undefined. */
  readonly hint: string | undefined
}

/**
 * Limits a wait to the end of its test, whose own timeout error would not name the awaited
 * condition.
 */
export function boundWait(timeoutMs: number, limit: WaitLimit): BoundWait {
  const limitMs = limit()
  if (timeoutMs <= limitMs) return { timeoutMs, hint: undefined }
  return {
    timeoutMs: limitMs,
    hint: 'Increase the timeout of the test (`testTimeout`, or the last argument of `test`): this wait was ended just before it.',
  }
}
