import { AsyncLocalStorage } from 'node:async_hooks'
import { type VMError, vmError } from '../errors.js'
import { formatDuration } from './duration.js'

/**
 * Returns the time until the end of the test that a wait belongs to, in milliseconds. Infinity if
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
  return { timeoutMs: limitMs, hint: testTimeoutHint('wait') }
}

/** Returns the hint of an operation that was ended because its test was about to time out. */
export function testTimeoutHint(operation: string): string {
  return `Increase the timeout of the test (\`testTimeout\`, or the last argument of \`test\`). This ${operation} ended shortly before the test would have timed out.`
}

/**
 * Returns the lines that give a Vitest test more time, as an instruction.
 *
 * @param ms sufficient timeout, in milliseconds; a multiple of 1000
 */
export function describeMoreTime(ms: number): string {
  const timeout = String(ms).replace(/000$/, '_000')
  return `end it with \`}, ${timeout})\`, or set \`testTimeout: ${timeout}\` in the Vitest config`
}

/** Returns the error of a test that ends before the work of the start of its guest. */
export function testTimeTooShort(options: {
  /** Work that takes longer, as a phrase such as `building the image tiny`. */
  readonly work: string
  /** Time that was left for it, in milliseconds. */
  readonly leftMs: number
  /** Test timeout that is sufficient on a slow host, in milliseconds. */
  readonly sufficientMs: number
  /** State of the work. */
  readonly state: string
  /** Sentence about the next run. */
  readonly next: string
}): VMError {
  const { work, leftMs, sufficientMs, state, next } = options
  return vmError('TEST_TIME_TOO_SHORT', {
    summary: `The test has less time than the start of its guest needs: ${work} takes longer.`,
    expected: `a test timeout of about ${formatDuration(sufficientMs)} for the first start`,
    got: `${formatDuration(leftMs)} until the end of the test; ${state}`,
    hint: `Give the test more time: ${describeMoreTime(sufficientMs)}. ${next}`,
  })
}
