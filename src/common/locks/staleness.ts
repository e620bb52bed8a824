import { statIfVisible } from '../files/safe-parent.js'

/**
 * Judges by their modification time the files and folders of processes that cannot be seen from here, which touch them every 15 s
 * (heartbeat.ts). One look is never enough: when the clock has jumped, as after a suspend, all of them look old until the next touch.
 */

/** `stale`: not touched for too long, but not yet observed for long enough. */
export type Staleness = 'fresh' | 'stale' | 'abandoned'

/** For how long this process must have seen a path unchanged before the path counts as abandoned, milliseconds. */
const OBSERVED_MS = 40_000
/** When to look again, milliseconds: later than is needed, because timers may fire early. */
export const SECOND_LOOK_MS = 41_000

const observed = new Map<string, { readonly mtimeMs: number; readonly since: number }>()

/**
 * Returns whether a path is still touched. The first call begins the observation of the path.
 *
 * @param untouchedMs for how long its holder counts as alive without touching it, milliseconds.
 * @param now a time by the clock that stamps the path. @default this host's
 */
export function readStaleness(path: string, untouchedMs: number, now = Date.now()): Staleness {
  const seen = observe(path)
  if (seen === undefined || now - seen.mtimeMs <= untouchedMs) return 'fresh'
  return performance.now() - seen.since >= OBSERVED_MS ? 'abandoned' : 'stale'
}

/** Returns whether this process has seen a path unchanged for a time. The first call begins the observation of the path. */
export function isUnchangedFor(path: string, ms: number): boolean {
  const seen = observe(path)
  return seen !== undefined && performance.now() - seen.since >= ms
}

function observe(path: string) {
  const mtimeMs = statIfVisible(path)?.mtimeMs
  if (mtimeMs === undefined) {
    observed.delete(path)
    return undefined
  }
  const known = observed.get(path)
  if (known?.mtimeMs === mtimeMs) return known
  const seen = { mtimeMs, since: performance.now() }
  observed.set(path, seen)
  return seen
}

const awaited = new Set<string>()

/**
 * Calls `look` again when a stale path has been observed for long enough. A process that ends earlier leaves that to a later one.
 * Errors of `look` are ignored.
 */
export function lookAgain(path: string, look: () => Promise<void>): void {
  if (awaited.has(path)) return
  awaited.add(path)
  setTimeout(() => {
    awaited.delete(path)
    look().catch(() => {})
  }, SECOND_LOOK_MS).unref()
}
