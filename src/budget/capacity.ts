import { readFreeMemory } from '../host/memory.js'
import type { Entry } from './entry.js'
import type { Limits } from './limits.js'
import { type MemoryEstimate, readPssMiB } from './usage.js'

const MIB = 1024 ** 2
/** What is to stay free of the host's memory beside a guest that is used, and beside one that stands by. */
const SPARE_MIB = { guest: 256, standby: 512 }

export interface CapacityRequest extends MemoryEstimate {
  readonly for: 'start' | 'reservation' | 'standby'
}

export interface Capacity {
  readonly fits: boolean
  /** What it lacks: that others before it go on, that others have started, memory. */
  readonly lacks: 'turn' | 'starts' | 'memory' | undefined
  /** How much more all guests may take, MiB. */
  readonly freeMiB: number
}

export function holdsCapacity({ state }: Entry): boolean {
  return state !== 'waits' && state !== 'blocked'
}

/**
 * Finds out whether there is room for one more guest beside those that are there: by what is known of such guests and by
 * what those that run take at this moment, whichever is more.
 */
export async function findCapacity(
  entries: readonly Entry[],
  wish: CapacityRequest,
  limits: Limits,
): Promise<Capacity> {
  const holders = entries.filter(holdsCapacity)
  const limitMiB = Math.floor(limits.memoryBytes / MIB)
  const spareMiB = wish.for === 'standby' ? SPARE_MIB.standby : SPARE_MIB.guest
  const hostMiB = Math.floor(readFreeMemory() / MIB) - spareMiB
  const starting = holders.filter(({ state }) => state === 'starts').length
  if (wish.for === 'start' && starting >= limits.starts) return { fits: false, lacks: 'starts', freeMiB: 0 }
  const maxMiB = sum(holders.map((entry) => entry.maxMiB))
  // Where all may take all that they can, there is nothing to measure.
  const surelyMiB = Math.min(limitMiB, hostMiB) - maxMiB
  if (wish.maxMiB <= surelyMiB) return { fits: true, lacks: undefined, freeMiB: surelyMiB }
  const measured = await Promise.all(
    holders.map(async (entry) => {
      const nowMiB = entry.qemuPid === undefined ? 0 : ((await readPssMiB(entry.qemuPid)) ?? 0)
      const takesMiB = Math.max(entry.expectedMiB, nowMiB)
      return { takesMiB, toComeMiB: takesMiB - nowMiB, mayGrowMiB: Math.max(0, entry.maxMiB - takesMiB) }
    }),
  )
  const takenMiB = sum(measured.map(({ takesMiB }) => takesMiB))
  // Any one of them may take more than is usual, up to all that it can: room for that stays free.
  const growthMiB = Math.max(wish.maxMiB - wish.expectedMiB, ...measured.map(({ mayGrowMiB }) => mayGrowMiB))
  const freeMiB = Math.max(
    0,
    Math.min(limitMiB - takenMiB - growthMiB, hostMiB - sum(measured.map(({ toComeMiB }) => toComeMiB))),
  )
  // The first is let in: there is nobody to wait for. So is what has its room already.
  const isLetIn = wish.for !== 'standby' && (holders.length === 0 || wish.expectedMiB === 0)
  const fits = wish.expectedMiB <= freeMiB || isLetIn
  return { fits, lacks: fits ? undefined : 'memory', freeMiB }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
