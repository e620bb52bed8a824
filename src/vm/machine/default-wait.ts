/** Longest default timeout: a wait that takes longer says what it waits for. */
const LONGEST_DEFAULT_MS = 120_000

/** The default timeout of a wait, milliseconds: 30 s, on a slow host up to two minutes. */
export function defaultWaitMs({ timeFactor }: { readonly timeFactor: number }): number {
  return Math.min(LONGEST_DEFAULT_MS, Math.max(30_000, 10_000 * timeFactor))
}
