import { setTimeout as sleep } from 'node:timers/promises'
import type { HostUser } from '../common/process/host-user.js'
import { sweepDeadWorkspaces } from '../vm/workspace/sweep.js'

/**
 * Maximum time that a start waits for the sweep, in milliseconds. Afterwards, the sweep continues
 * in the background.
 */
const SWEEP_MS = 2000

const sweeps = new Map<string, Promise<unknown>>()

/** Removes the files of dead runs, once in a process for each folder and user. */
export function sweepDeadRunsOnce(tmpdir: string | undefined, user: HostUser | undefined): Promise<unknown> {
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
