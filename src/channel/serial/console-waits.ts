import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'

interface Waiter {
  /** Settles the wait if its condition is met. */
  check(): void
  readonly found: Deferred<unknown>
}

export interface WaitSettings {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  readonly onTimeout: () => Error
}

const INTERRUPT_GRACE_MS = 200
/** Pause after a check, as a multiple of its duration: checks use at most a fifth of the time. */
const PAUSE_PER_CHECK = 4

/** Waits for output of a console. All of them end when the guest will print nothing more. */
export class ConsoleWaits {
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | NodeJS.Immediate | undefined
  #grace: NodeJS.Timeout | undefined
  #hasNewText = false
  #interruptedBy: Error | undefined
  #closedBy: Error | undefined

  get isClosed(): boolean {
    return this.#closedBy !== undefined
  }

  /** Reason for which the guest will print nothing more; undefined while it can. */
  get interruption(): Error | undefined {
    return this.#closedBy ?? this.#interruptedBy
  }

  /** Waits until `find` returns a value. Calls it at once and after each {@link scheduleCheck}. */
  async until<T>(find: () => T | undefined, settings: WaitSettings): Promise<T> {
    settings.signal?.throwIfAborted()
    const existing = find()
    if (existing !== undefined) return existing
    if (this.interruption !== undefined) throw this.interruption
    const found = createDeferred<T>()
    const check = () => {
      const result = find()
      if (result !== undefined) found.resolve(result)
    }
    const waiter: Waiter = { check, found: found as Deferred<unknown> }
    this.#waiters.add(waiter)
    try {
      return await withDeadline(settings, () => found.promise)
    } finally {
      this.#waiters.delete(waiter)
    }
  }

  /**
   * Schedules a check of all waits after new output: at once, or after the pause of the previous
   * check.
   */
  scheduleCheck(): void {
    if (this.#waiters.size === 0) return
    this.#hasNewText = true
    this.#timer ??= setImmediate(() => this.#checkAll())
  }

  /** Checks all waits at once, without a pause: used when no more output follows. */
  checkNow(): void {
    if (this.#waiters.size > 0) this.#checkAll()
  }

  /** Rejects all waits, and later ones that are not met at once, until {@link resume}. */
  interrupt(reason: Error): void {
    this.#interruptedBy = reason
    // Output that belongs to the reason, such as the trace of a panic, may still arrive.
    clearTimeout(this.#grace)
    this.#grace = setTimeout(() => {
      if (this.#interruptedBy !== reason) return
      this.#checkAll()
      for (const { found } of this.#waiters) found.reject(reason)
    }, INTERRUPT_GRACE_MS)
  }

  resume(): void {
    this.#interruptedBy = undefined
  }

  close(reason: Error): void {
    this.#checkAll()
    this.#closedBy = reason
    clearTimeout(this.#grace) // the timer would delay the exit of the process
    for (const { found } of this.#waiters) found.reject(reason)
  }

  #checkAll(): void {
    const startedAt = performance.now()
    this.#hasNewText = false
    for (const { check } of this.#waiters) check()
    const pauseMs = (performance.now() - startedAt) * PAUSE_PER_CHECK
    this.#timer = undefined
    if (pauseMs < 2 || this.#waiters.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#hasNewText) this.#checkAll()
    }, pauseMs)
  }
}
