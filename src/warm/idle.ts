import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long a guest is looked at, milliseconds, and what it may use of a processor then to count as idle. */
const LOOK_MS = 100
const IDLE_SHARE = 0.15
/** One that has always something to do does not get idle. */
const MOST_LOOKS = 20
/** In Linux on every architecture that Node.js runs on (proc(5), USER_HZ). */
const MS_PER_TICK = 10

/** Waits until a process has nothing to do but wait: what a guest does by itself after its start is done then. The signal ends it. */
export async function untilIdle(pid: number, signal: AbortSignal): Promise<void> {
  let before = await readTicks(pid)
  for (let look = 0; look < MOST_LOOKS && !signal.aborted; look++) {
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
    const ticks = await readTicks(pid)
    if ((ticks - before) * MS_PER_TICK < LOOK_MS * IDLE_SHARE) return
    before = ticks
  }
}

/** The processor time that a process has used, in ticks; 0 for one that has ended. */
async function readTicks(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const [, , , , , , , , , , , user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  return user + system
}
