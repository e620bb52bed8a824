/** Longest default timeout, in milliseconds. Longer waits must set their own. */
const MAX_DEFAULT_MS = 120_000

/** Returns the default timeout of a wait, milliseconds: 30 s, on a slow host up to two minutes. */
export function defaultWaitMs({ timeFactor }: { readonly timeFactor: number }): number {
  return Math.min(MAX_DEFAULT_MS, Math.max(30_000, 10_000 * timeFactor))
}
