import { drawTicket } from '../common/locks/ticket.js'
import { findCapacity } from './capacity.js'
import { type Entry, formatEntry } from './entry.js'
import { currentHolder } from './holder.js'
import { Lease } from './lease.js'
import { readLeases, withLeaseLock, writeLease } from './lease-files.js'
import { readLimits } from './limits.js'
import { hostTooSmall } from './messages.js'
import { estimateMemory, type GuestKind, type MemoryEstimate } from './usage.js'
import { waitForCapacity } from './wait-for-capacity.js'

export interface LeaseOrder {
  readonly name: string
  readonly kind: GuestKind
}

export interface LeaseWait {
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
}

const NOTHING: MemoryEstimate = { expectedMiB: 0, maxMiB: 0 }

/**
 * Takes a place in the budget for a guest that is to be started: at once where there is room, else when it is its turn and
 * guests that stand by have made room, or others have ended. First come, first served.
 *
 * @throws {InfrastructureError} HOST_TOO_SMALL when there can never be room for it.
 * @throws {UsageError} INVALID_OPTIONS when WITHVM_MEMORY or WITHVM_STARTS cannot be used.
 */
export async function takeLease({ name, kind }: LeaseOrder, wait: LeaseWait): Promise<Lease> {
  const limits = readLimits()
  if (kind.memoryBytes > limits.memoryBytes) throw hostTooSmall([name], kind.memoryBytes, limits)
  const entry = newEntry('starts', name, await estimateMemory(kind))
  return waitForCapacity(entry, { ...wait, limits, kind, reserved: currentHolder().reserved })
}

/**
 * Takes room for several guests at once, which are then started with it (`withReserved`): none of them waits while
 * another is there already.
 *
 * @throws as {@link takeLease}.
 */
export async function reserveCapacity(orders: readonly LeaseOrder[], wait: LeaseWait): Promise<Lease> {
  const limits = readLimits()
  const names = orders.map(({ name }) => name)
  const memoryBytes = orders.reduce((bytes, { kind }) => bytes + kind.memoryBytes, 0)
  if (memoryBytes > limits.memoryBytes) throw hostTooSmall(names, memoryBytes, limits)
  const claims = await Promise.all(orders.map(({ kind }) => estimateMemory(kind)))
  const expectedMiB = claims.reduce((sum, claim) => sum + claim.expectedMiB, 0)
  const entry = newEntry('runs', names.join('+'), { expectedMiB, maxMiB: expectedMiB })
  return waitForCapacity(entry, { ...wait, limits })
}

/**
 * Takes a place for a guest that is to stand by, if there is room beside all others and those that wait. Undefined where there
 * is none.
 * @param onEvict called when the room is wanted for a guest that is to be used.
 */
export async function takeStandbyLease(
  { name, kind }: LeaseOrder,
  onEvict: () => void,
  signal: AbortSignal | undefined,
): Promise<Lease | undefined> {
  const limits = readLimits()
  const claim = await estimateMemory(kind)
  return withLeaseLock(async () => {
    const entries = readLeases()
    const count = entries.filter(({ state }) => state === 'standby').length
    if (count >= limits.standbys) return undefined
    const all = entries.map((entry) =>
      entry.state === 'waits' ? { ...entry, state: 'runs' as const } : entry,
    )
    const { fits } = await findCapacity(all, { ...claim, for: 'standby' }, limits)
    if (!fits) return undefined
    const entry = newEntry('standby', name, claim)
    return new Lease(entry, await writeLease(entry, onEvict), { kind, onEvict })
  }, signal)
}

/** Lets others know, until it is released, that what is started here waits for another process. */
export async function enterBlocked(name: string): Promise<Lease> {
  const entry = newEntry('blocked', name, NOTHING)
  return new Lease(entry, await writeLease(entry))
}

/** Returns the text with which another process, to which the guest is left, can enter it in the ledger ({@link enterName}). */
export function nameKeptLease({ entry }: Lease): string {
  return formatEntry({ ...entry, ticket: drawTicket(), state: 'kept' })
}

function newEntry(state: Entry['state'], name: string, claim: MemoryEstimate): Entry {
  return { ticket: drawTicket(), state, holder: currentHolder().name, ...claim, qemuPid: undefined, name }
}
