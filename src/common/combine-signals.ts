/**
 * Returns a signal that aborts with the first of these signals, and with its reason. A single
 * signal is returned unchanged. `AbortSignal.any()` holds its sources and their dependents weakly,
 * so a long-lived signal does not retain the signals of waits that have ended.
 */
export function combineSignals(first: AbortSignal, ...more: readonly (AbortSignal | undefined)[]): AbortSignal
export function combineSignals(
  first: AbortSignal | undefined,
  second: AbortSignal,
  ...more: readonly (AbortSignal | undefined)[]
): AbortSignal
export function combineSignals(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
  const defined = signals.filter((signal) => signal !== undefined)
  const [only] = defined
  return only !== undefined && defined.length === 1 ? only : AbortSignal.any(defined)
}
