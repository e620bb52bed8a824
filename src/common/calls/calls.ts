import { AsyncLocalStorage } from 'node:async_hooks'
import { type CallSite, captureCallSite, formatLocation, setStack } from '../../errors/call-site.js'
import { firstLine } from '../../errors/safe-text.js'
import { VMError, vmError } from '../../errors.js'
import { formatDuration } from '../duration.js'
import type { Log } from '../log.js'
import { CallPromise } from './call-promise.js'

/** Running time after which a call is reported, in milliseconds. */
const SLOW_MS = 30_000

type Entry = (...args: never[]) => unknown

/** True within a call: calls that withvm itself makes there are not calls of the test. */
const inCall = new AsyncLocalStorage<boolean>()

/**
 * Runs a function of the test author within a call, such as a check: its calls are calls of the
 * test.
 */
export function runUserCode<T>(work: () => T): T {
  return inCall.getStore() === true ? inCall.run(false, work) : work()
}

/**
 * Runs a function of the public API. An error that it throws, or rejects with, gets the stack of
 * the caller of `entry`.
 */
export function locateErrors<T>(entry: Entry, work: () => T): T {
  const site = captureCallSite(entry)
  const result = locateThrown(site, work)
  if (!(result instanceof Promise)) return result
  return result.catch((error: unknown) => Promise.reject(locate(error, site))) as T
}

function locateThrown<T>(site: CallSite, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw locate(error, site)
  }
}

function locate(error: unknown, site: CallSite, locatesAll = false): unknown {
  if (error instanceof VMError) return error.locate(site)
  if (locatesAll && error instanceof Error) setStack(error, site)
  return error
}

/** Runs a part of a call outside of {@link Calls.run}. */
export function runWithinCall<T>(work: () => T): T {
  return inCall.run(true, work)
}

/** Function of the public API that is called. */
export interface CalledFunction {
  /** Returns the call as source text. */
  readonly describe: () => string
  /** Function whose caller is the test. */
  readonly entry: Entry
  /** If false, a call that runs for long is not reported. @default true */
  readonly isReported?: boolean
  /**
   * If true, errors of other classes than `VMError` get the stack of the caller too.
   * @default false
   */
  readonly locatesAll?: boolean
}

/** A call of a test, from its start until it has succeeded or was handled. */
export interface Call {
  readonly describe: () => string
  readonly site: CallSite
  readonly locatesAll: boolean
  /** Error of a call that failed. Undefined while it runs. */
  failure?: unknown
}

/** Settings of {@link Calls.start}. */
export interface CallReports {
  /** Receives the text about a call that runs for long. */
  readonly log?: Log
  /**
   * Called at each call. Returns true if the test that runs now takes the unhandled calls at its
   * end.
   */
  readonly isTakenByTest?: (calls: Calls) => boolean
}

/**
 * Calls that a test makes on a guest. Finds those that the test does not await, which otherwise
 * fail a later test, or the whole run. Does nothing before {@link start}: the calls of a launch are
 * not those of a test.
 */
export class Calls {
  readonly #owner: unknown
  readonly #running = new Set<Call>()
  /** Calls that are not handled and have not succeeded. */
  readonly #unhandled = new Set<Call>()
  #reports: CallReports | undefined
  #isTakenByTest = false
  #isClosed = false

  /** @param owner guest of the calls. */
  constructor(owner: unknown) {
    this.#owner = owner
  }

  start(reports: CallReports): void {
    this.#reports = reports
  }

  /** Runs a call. Its errors get the stack of the caller. */
  run<T>(called: CalledFunction, work: () => T): T {
    const reports = this.#reports
    if (reports === undefined || inCall.getStore() === true) return work()
    const { describe, entry, isReported = true, locatesAll = false } = called
    const site = captureCallSite(entry)
    const result = locateThrown(site, () => inCall.run(true, work))
    if (!(result instanceof Promise)) return result
    this.#isTakenByTest = reports.isTakenByTest?.(this) ?? false
    return this.#follow({ describe, site, locatesAll }, result, isReported ? reports.log : undefined) as T
  }

  /** Descriptions of the calls that run now, with their durations. */
  describeRunning(): string {
    return [...this.#running].map(describeCall).join('\n')
  }

  /** Returns the calls that were not handled and have not succeeded, and forgets them. */
  takeUnhandled(): readonly Call[] {
    const calls = [...this.#unhandled]
    this.#unhandled.clear()
    return calls
  }

  /**
   * Ends the reports of unhandled calls, because the guest is disposed of.
   * @throws {UsageError} NOT_AWAITED, unless the running test reports the calls.
   */
  close(): void {
    this.#isClosed = true
    if (this.#isTakenByTest) return
    const error = findNotAwaited([this], 'the guest was disposed of')
    if (error !== undefined) throw error
  }

  #follow<T>(call: Call, result: Promise<T>, log: Log | undefined): CallPromise<T> {
    this.#running.add(call)
    const timer =
      log &&
      setTimeout(() => log(`still waiting: ${describeCall(call).replace(/\n +/, ' ')}`), SLOW_MS).unref()
    const forget = () => void this.#unhandled.delete(call)
    const end = () => {
      clearTimeout(timer)
      this.#running.delete(call)
    }
    const promise = new CallPromise<T>(
      (resolve, reject) => {
        result.then(
          (value) => {
            end()
            forget()
            resolve(value)
          },
          (error: unknown) => {
            end()
            call.failure = locate(error, call.site, call.locatesAll)
            reject(call.failure)
          },
        )
      },
      this.#owner,
      forget,
    )
    if (this.#isClosed) return promise
    this.#unhandled.add(call)
    promise.silence()
    return promise
  }
}

/** Returns the error of the unhandled calls, and forgets them. Undefined if there are none. */
export function findNotAwaited(ledgers: readonly Calls[], when: string): VMError | undefined {
  const calls = ledgers.flatMap((ledger) => ledger.takeUnhandled())
  const [first] = calls
  if (first === undefined) return undefined
  const isOne = calls.length === 1
  const error = vmError('NOT_AWAITED', {
    summary: `${isOne ? 'A call was' : `${calls.length} calls were`} not awaited when ${when}.`,
    evidence: [{ label: 'Without `await`', text: calls.map(describeCall).join('\n') }],
    hint: `Write \`await\` before ${isOne ? 'the call' : 'each of these calls'}. If the result does not matter, add \`.catch(() => {})\`.`,
  })
  return error.locate(first.site)
}

function describeCall(call: Call): string {
  const { site, failure } = call
  const ms = formatDuration(performance.now() - site.atMs)
  const state = 'failure' in call ? `failed: ${firstLine(failure)}` : `running for ${ms}`
  const location = formatLocation(site)
  return `${call.describe()}, ${state}${location === undefined ? '' : `\n    at ${location}`}`
}
