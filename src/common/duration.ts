/**
 * Duration: a number of milliseconds, or a number with a unit: `'500ms'`, `'30s'`, `'2m'`, `'1h'`.
 */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h'}`

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/**
 * Longest duration of a timer, 24.8 days. A longer timer would fire immediately (Node.js:
 * setTimeout).
 */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Returns milliseconds, or undefined if the value is not a positive duration. `Infinity` is valid,
 * and durations longer than a timer supports become `Infinity`.
 */
export function parseDuration(duration: unknown): number | undefined {
  const ms = toMilliseconds(duration)
  if (ms === undefined || !(ms > 0)) return undefined
  return ms > MAX_TIMER_MS ? Number.POSITIVE_INFINITY : ms
}

function toMilliseconds(duration: unknown): number | undefined {
  if (typeof duration === 'number') return duration
  if (typeof duration !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(duration)
  if (match === null) return undefined
  return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]
}

/** Formats milliseconds for readers: `850 ms`, `2.4 s`, `3 min 20 s`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1).replace(/\.0$/, '')} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min${seconds % 60 === 0 ? '' : ` ${seconds % 60} s`}`
}
