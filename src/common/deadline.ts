import { setMaxListeners } from 'node:events'
import { createDeferred } from './deferred.js'

export interface DeadlineOptions {
  readonly timeoutMs: number
  /** Aborts the wait, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Returns the error of a wait that times out. */
  readonly onTimeout: () => Error
}

/**
 * Runs `work` with a signal that aborts at the deadline or with the caller's signal. Does not wait
 * for work that ignores its signal.
 */
export async function withDeadline<T>(
  options: DeadlineOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  options.signal?.throwIfAborted()
  const controller = new AbortController()
  const { promise: aborted, reject } = createDeferred<never>()
  const abort = (reason: unknown) => {
    controller.abort(reason)
    reject(reason)
  }
  const onCallerAbort = () => abort(options.signal?.reason)
  const stopListening = onAbort(options.signal, onCallerAbort)
  const timer = Number.isFinite(options.timeoutMs)
    ? setTimeout(() => abort(options.onTimeout()), options.timeoutMs)
    : undefined
  aborted.catch(() => {})
  try {
    return await Promise.race([work(controller.signal), aborted])
  } finally {
    clearTimeout(timer)
    stopListening()
  }
}

/** Rejects with the signal's reason as soon as it aborts, else settles like `promise`. */
export async function raceSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  promise.catch(() => {})
  signal.throwIfAborted()
  const { promise: aborted, reject } = createDeferred<never>()
  aborted.catch(() => {})
  const stopListening = onAbort(signal, () => reject(signal.reason))
  try {
    return await Promise.race([promise, aborted])
  } finally {
    stopListening()
  }
}

/** Returns true if the signal has aborted or aborts within that time. */
export function abortsWithin(signal: AbortSignal, ms: number): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(true)
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      stopListening()
      resolve(signal.aborted)
    }
    const timer = setTimeout(end, ms)
    const stopListening = onAbort(signal, end)
  })
}

/**
 * One signal may abort any number of waits, more than the ten listeners after which Node.js warns
 * about a leak.
 */
function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {}
  setMaxListeners(0, signal)
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}
