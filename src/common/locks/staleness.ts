import { statIfVisible } from '../files/safe-parent.js'

/**
 * Detects dead processes that this process cannot inspect: those of other PID namespaces or hosts.
 * A live process updates the modification times of its files every 15 s (heartbeat.ts). A single
 * old time is not sufficient: after a jump of the clock, for example after suspend, all times look
 * old until the next update.
 */

/** `stale`: not touched for too long, but not observed for long enough yet. */
export type Staleness = 'fresh' | 'stale' | 'abandoned'

/**
 * Time for which this process must observe a path unchanged before it counts as abandoned,
 * in milliseconds.
 */
const OBSERVED_MS = 40_000
/**
 * Delay of the second observation, in milliseconds. Longer than necessary, because timers may fire
 * early.
 */
export const RECHECK_MS = 41_000

const observed = new Map<string, { readonly mtimeMs: number; readonly since: number }>()

/**
 * Returns true if a path is still touched. The first call starts the observation of the path.
 *
 * @param untouchedMs time without a touch after which its holder counts as dead, in milliseconds.
 * @param now the time of the clock that stamps the path. @default the time of this host
 */
export function readStaleness(path: string, untouchedMs: number, now = Date.now()): Staleness {
  const observation = observe(path)
  if (observation === undefined || now - observation.mtimeMs <= untouchedMs) return 'fresh'
  return performance.now() - observation.since >= OBSERVED_MS ? 'abandoned' : 'stale'
}

/**
 * Returns true if this process has observed a path unchanged for a time. The first call starts the
 * observation.
 */
export function isUnchangedFor(path: string, ms: number): boolean {
  const observation = observe(path)
  return observation !== undefined && performance.now() - observation.since >= ms
}

function observe(path: string) {
  const mtimeMs = statIfVisible(path)?.mtimeMs
  if (mtimeMs === undefined) {
    observed.delete(path)
    return undefined
  }
  const known = observed.get(path)
  if (known?.mtimeMs === mtimeMs) return known
  const observation = { mtimeMs, since: performance.now() }
  observed.set(path, observation)
  return observation
}

const awaited = new Set<string>()

/**
 * Calls `check` again when a stale path has been observed for long enough. If this process ends
 * earlier, a later process does it. Errors of `check` are ignored.
 */
export function recheckLater(path: string, check: () => Promise<void>): void {
  if (awaited.has(path)) return
  awaited.add(path)
  setTimeout(() => {
    awaited.delete(path)
    check().catch(() => {})
  }, RECHECK_MS).unref()
}
