import { MIB } from '../common/units.js'
import { readFreeMemory } from '../host/memory.js'
import type { Entry } from './entry.js'
import type { Limits } from './limits.js'
import { type MemoryEstimate, readPssMiB } from './usage.js'

/** Host memory that stays free after a guest starts, and after a standby starts, in MiB. */
const RESERVE_MIB = { guest: 256, standby: 512 }

export interface CapacityRequest extends MemoryEstimate {
  readonly for: 'start' | 'reservation' | 'standby'
}

export interface Capacity {
  readonly fits: boolean
  /**
   * Reason for `fits: false`: earlier requests in the queue, the limit of concurrent starts, or
   * memory.
   */
  readonly blockedBy: 'queue' | 'starts' | 'memory' | undefined
  /** Memory that is free for further guests, in MiB. */
  readonly freeMiB: number
}

export function holdsCapacity({ state }: Entry): boolean {
  return state !== 'waiting' && state !== 'blocked'
}

/**
 * Computes whether one more guest fits next to the guests in `entries`. Each guest counts with its
 * expected memory or its measured memory, whichever is larger.
 */
export async function findCapacity(
  entries: readonly Entry[],
  request: CapacityRequest,
  limits: Limits,
): Promise<Capacity> {
  const holders = entries.filter(holdsCapacity)
  const limitMiB = Math.floor(limits.memoryBytes / MIB)
  const reserveMiB = request.for === 'standby' ? RESERVE_MIB.standby : RESERVE_MIB.guest
  const hostMiB = Math.floor(readFreeMemory() / MIB) - reserveMiB
  const starting = holders.filter(({ state }) => state === 'starting').length
  if (request.for === 'start' && starting >= limits.starts)
    return { fits: false, blockedBy: 'starts', freeMiB: 0 }
  const maxMiB = sum(holders.map((entry) => entry.maxMiB))
  // If the maximum of every guest fits, no measurement is needed.
  const guaranteedMiB = Math.min(limitMiB, hostMiB) - maxMiB
  if (request.maxMiB <= guaranteedMiB) return { fits: true, blockedBy: undefined, freeMiB: guaranteedMiB }
  const measured = await Promise.all(
    holders.map(async (entry) => {
      const residentMiB = entry.qemuPid === undefined ? 0 : ((await readPssMiB(entry.qemuPid)) ?? 0)
      const countedMiB = Math.max(entry.expectedMiB, residentMiB)
      return {
        countedMiB,
        unusedMiB: countedMiB - residentMiB,
        growthMiB: Math.max(0, entry.maxMiB - countedMiB),
      }
    }),
  )
  const countedMiB = sum(measured.map((guest) => guest.countedMiB))
  // Any single guest may grow from its expected to its maximum memory, so the largest such growth
  // stays free.
  const growthMiB = Math.max(
    request.maxMiB - request.expectedMiB,
    ...measured.map((guest) => guest.growthMiB),
  )
  const freeMiB = Math.max(
    0,
    Math.min(limitMiB - countedMiB - growthMiB, hostMiB - sum(measured.map(({ unusedMiB }) => unusedMiB))),
  )
  // The first guest always starts: no other guest could free memory. So does a guest whose memory
  // is already reserved.
  const isExempt = request.for !== 'standby' && (holders.length === 0 || request.expectedMiB === 0)
  const fits = request.expectedMiB <= freeMiB || isExempt
  return { fits, blockedBy: fits ? undefined : 'memory', freeMiB }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
