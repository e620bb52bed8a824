import { drawTicket } from '../common/locks/ticket.js'
import { type Entry, formatEntry } from './entry.js'
import { Lease } from './lease.js'
import { enterGuest, readLedger, withLedger } from './ledger.js'
import { readLimits } from './limits.js'
import { currentParty } from './party.js'
import { findRoom } from './room.js'
import { type Claim, type GuestKind, readClaim } from './usage.js'
import { waitForRoom } from './wait-for-room.js'
import { hostTooSmall } from './words.js'

export interface LeaseOrder {
  readonly name: string
  readonly kind: GuestKind
}

export interface LeaseWait {
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
}

const NOTHING: Claim = { claimMiB: 0, mostMiB: 0 }

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
  const entry = newEntry('starts', name, await readClaim(kind))
  return waitForRoom(entry, { ...wait, limits, kind, reserved: currentParty().reserved })
}

/**
 * Takes room for several guests at once, which are then started with it (`withReserved`): none of them waits while
 * another is there already.
 *
 * @throws as {@link takeLease}.
 */
export async function reserveRoom(orders: readonly LeaseOrder[], wait: LeaseWait): Promise<Lease> {
  const limits = readLimits()
  const names = orders.map(({ name }) => name)
  const memoryBytes = orders.reduce((bytes, { kind }) => bytes + kind.memoryBytes, 0)
  if (memoryBytes > limits.memoryBytes) throw hostTooSmall(names, memoryBytes, limits)
  const claims = await Promise.all(orders.map(({ kind }) => readClaim(kind)))
  const claimMiB = claims.reduce((sum, claim) => sum + claim.claimMiB, 0)
  const entry = newEntry('runs', names.join('+'), { claimMiB, mostMiB: claimMiB })
  return waitForRoom(entry, { ...wait, limits })
}

/**
 * Takes a place for a guest that is to stand by, if there is room beside all others and those that wait. Undefined where there
 * is none.
 * @param giveWay called when the room is wanted for a guest that is to be used.
 */
export async function takeStandbyLease(
  { name, kind }: LeaseOrder,
  giveWay: () => void,
  signal: AbortSignal | undefined,
): Promise<Lease | undefined> {
  const limits = readLimits()
  const claim = await readClaim(kind)
  return withLedger(async () => {
    const entries = readLedger()
    const count = entries.filter(({ state }) => state === 'stands-by').length
    if (count >= limits.standbys) return undefined
    const all = entries.map((entry) =>
      entry.state === 'waits' ? { ...entry, state: 'runs' as const } : entry,
    )
    const { fits } = await findRoom(all, { ...claim, for: 'stand-by' }, limits)
    if (!fits) return undefined
    const entry = newEntry('stands-by', name, claim)
    return new Lease(entry, await enterGuest(entry, giveWay), { kind, giveWay })
  }, signal)
}

/** Lets others know, until it is released, that what is started here waits for another process. */
export async function enterHeldUp(name: string): Promise<Lease> {
  const entry = newEntry('held-up', name, NOTHING)
  return new Lease(entry, await enterGuest(entry))
}

/** Returns the text with which another process, to which the guest is left, can enter it in the ledger ({@link enterName}). */
export function namePlaceKept({ entry }: Lease): string {
  return formatEntry({ ...entry, ticket: drawTicket(), state: 'kept' })
}

function newEntry(state: Entry['state'], name: string, claim: Claim): Entry {
  return { ticket: drawTicket(), state, party: currentParty().name, ...claim, qemuPid: undefined, name }
}
