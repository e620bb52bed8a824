import { setTimeout as sleep } from 'node:timers/promises'

/** Calls `check` until it returns a value other than undefined. The signal aborts the wait. */
export async function pollUntil<T>(
  check: () => Promise<T | undefined> | T | undefined,
  options: { readonly intervalMs: number; readonly signal?: AbortSignal | undefined },
): Promise<T> {
  for (;;) {
    options.signal?.throwIfAborted()
    const value = await check()
    if (value !== undefined) return value
    await sleep(options.intervalMs, undefined, { signal: options.signal }).catch((error: unknown) => {
      throw options.signal?.aborted ? options.signal.reason : error
    })
  }
}
