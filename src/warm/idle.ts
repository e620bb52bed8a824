import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Interval between two readings of QEMU's CPU time, milliseconds, and the share of a CPU below
 * which the guest counts as idle.
 */
const INTERVAL_MS = 100
const IDLE_SHARE = 0.15
/** Maximum number of readings: a guest that is always busy never becomes idle. */
const MAX_READINGS = 20
/**
 * Duration of a clock tick: USER_HZ is 100 on every architecture that Node.js supports (proc(5)).
 */
const MS_PER_TICK = 10

/**
 * Waits until a process is nearly idle: the background work after the guest's boot is done. Returns
 * early after 2 s or when the signal is aborted.
 */
export async function untilIdle(pid: number, signal: AbortSignal): Promise<void> {
  let before = await readTicks(pid)
  for (let reading = 0; reading < MAX_READINGS && !signal.aborted; reading++) {
    await sleep(INTERVAL_MS, undefined, { signal }).catch(() => {})
    const ticks = await readTicks(pid)
    if ((ticks - before) * MS_PER_TICK < INTERVAL_MS * IDLE_SHARE) return
    before = ticks
  }
}

/** Returns the CPU time of a process in ticks; 0 if the process has ended. */
async function readTicks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const [, , , , , , , , , , , user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  return user + system
}
