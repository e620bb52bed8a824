import { setTimeout as sleep } from 'node:timers/promises'

export interface PollOptions {
  /** Pause between two calls; with `maxIntervalMs`, the first pause. */
  readonly intervalMs: number
  /** Longest pause: each pause is half as long again as the one before it. @default intervalMs */
  readonly maxIntervalMs?: number | undefined
  /** Time after which the wait ends. The last call starts at that time. @default none */
  readonly timeoutMs?: number | undefined
  /** Aborts the wait, which rejects with the signal's reason. A running call is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

const BACKOFF_FACTOR = 1.5

/**
 * Calls `check` until it returns a value other than undefined. Returns undefined if `timeoutMs`
 * ends before that.
 * @param check receives the pause before its next call, in milliseconds.
 */
export async function pollUntil<T>(
  check: (pauseMs: number) => Promise<T | undefined> | T | undefined,
  options: PollOptions & { readonly timeoutMs?: undefined },
): Promise<T>
export async function pollUntil<T>(
  check: (pauseMs: number) => Promise<T | undefined> | T | undefined,
  options: PollOptions,
): Promise<T | undefined>
export async function pollUntil<T>(
  check: (pauseMs: number) => Promise<T | undefined> | T | undefined,
  { intervalMs, maxIntervalMs = 0, timeoutMs = Number.POSITIVE_INFINITY, signal }: PollOptions,
): Promise<T | undefined> {
  const endsAt = performance.now() + timeoutMs
  let pauseMs = intervalMs
  for (;;) {
    signal?.throwIfAborted()
    const value = await check(pauseMs)
    if (value !== undefined) return value
    const leftMs = endsAt - performance.now()
    if (leftMs <= 0) return undefined
    await sleep(Math.min(pauseMs, leftMs), undefined, { signal }).catch((error: unknown) => {
      throw signal?.aborted ? signal.reason : error
    })
    pauseMs = Math.max(pauseMs, Math.min(pauseMs * BACKOFF_FACTOR, maxIntervalMs))
  }
}
