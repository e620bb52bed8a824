import { AsyncLocalStorage } from 'node:async_hooks'

/** How long a wait may still take to end before the test it belongs to, milliseconds. Infinity if nothing limits it. */
export type WaitLimit = () => number

const current = new AsyncLocalStorage<WaitLimit>()
let ofRunner: WaitLimit = () => Number.POSITIVE_INFINITY

/** Sets the limit of waits that belong to no known test: that of the test which the runner runs at the moment. */
export function setRunnerLimit(limit: WaitLimit): void {
  ofRunner = limit
}

/** Runs `work` for a test: waits of the guests that it starts end before that test does. */
export function withWaitLimit<T>(limit: WaitLimit, work: () => T): T {
  return current.run(limit, work)
}

/** Returns the limit for waits of a guest that is started here. */
export function currentWaitLimit(): WaitLimit {
  return current.getStore() ?? (() => ofRunner())
}

/** How long a wait takes at most. */
export interface BoundWait {
  readonly timeoutMs: number
  /** Set if the end of the test comes before the timeout: what to do about that. */
  readonly hint: string | undefined
}

/** Ends a wait before its test, whose own timeout would not tell what was waited for. */
export function boundWait(timeoutMs: number, limit: WaitLimit): BoundWait {
  const limitMs = limit()
  if (timeoutMs <= limitMs) return { timeoutMs, hint: undefined }
  return {
    timeoutMs: limitMs,
    hint: 'Give the test more time (`testTimeout`, or the last argument of `test`): this wait ended just before the time of its test was up.',
  }
}
