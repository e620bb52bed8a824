import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'

interface Waiter {
  /** Settles the wait if what it waits for has come. */
  tryIt(): void
  readonly found: Deferred<unknown>
}

export interface WaitSettings {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  readonly onTimeout: () => Error
}

const INTERRUPT_GRACE_MS = 200
/** Looking gets a fifth of the time at most, however fast the guest writes. */
const REST_PER_LOOK = 4

/** The waits for what a console shows. All of them end when nothing more is to be expected of the guest. */
export class ConsoleWaits {
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | NodeJS.Immediate | undefined
  #grace: NodeJS.Timeout | undefined
  #hasNews = false
  #interruptedBy: Error | undefined
  #closedBy: Error | undefined

  get isClosed(): boolean {
    return this.#closedBy !== undefined
  }

  /** Why nothing more is to be expected; undefined while something is. */
  get over(): Error | undefined {
    return this.#closedBy ?? this.#interruptedBy
  }

  /** Waits until `look` gives something; it is called now and after each {@link lookSoon}. */
  async until<T>(look: () => T | undefined, settings: WaitSettings): Promise<T> {
    settings.signal?.throwIfAborted()
    const already = look()
    if (already !== undefined) return already
    if (this.over !== undefined) throw this.over
    const found = createDeferred<T>()
    const tryIt = () => {
      const result = look()
      if (result !== undefined) found.resolve(result)
    }
    const waiter: Waiter = { tryIt, found: found as Deferred<unknown> }
    this.#waiters.add(waiter)
    try {
      return await withDeadline(settings, () => found.promise)
    } finally {
      this.#waiters.delete(waiter)
    }
  }

  /** Something has come: all waits look for what they wait for, at once or after a rest. */
  lookSoon(): void {
    if (this.#waiters.size === 0) return
    this.#hasNews = true
    this.#timer ??= setImmediate(() => this.#look())
  }

  /** Looks at once, without a rest: nothing more comes that another look would cost time for. */
  lookNow(): void {
    if (this.#waiters.size > 0) this.#look()
  }

  /** Ends all waits, and every later one for what has not come already, until {@link resume}. */
  interrupt(reason: Error): void {
    this.#interruptedBy = reason
    // What was printed along with the reason, the rest of a panic's trace, may still be on its way.
    clearTimeout(this.#grace)
    this.#grace = setTimeout(() => {
      if (this.#interruptedBy !== reason) return
      this.#look()
      for (const { found } of this.#waiters) found.reject(reason)
    }, INTERRUPT_GRACE_MS)
  }

  resume(): void {
    this.#interruptedBy = undefined
  }

  close(reason: Error): void {
    this.#look()
    this.#closedBy = reason
    clearTimeout(this.#grace) // else a program would end that much later than its last guest
    for (const { found } of this.#waiters) found.reject(reason)
  }

  #look(): void {
    const startedAt = performance.now()
    this.#hasNews = false
    for (const { tryIt } of this.#waiters) tryIt()
    const restMs = (performance.now() - startedAt) * REST_PER_LOOK
    this.#timer = undefined
    if (restMs < 2 || this.#waiters.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#hasNews) this.#look()
    }, restMs)
  }
}
