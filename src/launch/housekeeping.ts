import { setTimeout as sleep } from 'node:timers/promises'
import { findTemporaryCache } from '../common/cache-dir.js'
import type { HostUser } from '../common/process/host-user.js'
import { openHostCache } from '../host/host-cache.js'
import { sweepDeadWorkspaces } from '../vm/workspace/sweep.js'

/** Maximum time that a start waits for the sweep, milliseconds. The sweep then continues in the background. */
const SWEEP_MS = 2000

const sweeps = new Map<string, Promise<unknown>>()

/** Removes the files of dead runs, once in a process for each folder and user. */
export function sweepOnce(tmpdir: string | undefined, user: HostUser | undefined): Promise<unknown> {
  const key = `${tmpdir} ${user?.uid}`
  const known = sweeps.get(key)
  if (known !== undefined) return known
  const sweeping = Promise.race([
    sweepDeadWorkspaces(tmpdir, user),
    sleep(SWEEP_MS, undefined, { ref: false }),
  ])
  sweeps.set(key, sweeping)
  return sweeping
}

/** Logs, once per reason, that the cache is in the temporary directory, where it may be deleted and rebuilt. */
export async function reportTemporaryCache(log: (line: string) => void): Promise<void> {
  const cache = findTemporaryCache()
  if (cache === undefined) return
  const { dir, reason } = cache
  if (await openHostCache(dir).shouldReport('temporary-cache-announced', reason))
    log(`images are cached in ${dir}: ${reason}. Fix: Set WITHVM_CACHE to a persistent directory.`)
}
