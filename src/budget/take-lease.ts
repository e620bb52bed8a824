import { basename } from 'node:path'
import { drawTicket } from '../common/locks/ticket.js'
import { findCapacity } from './capacity.js'
import { type Entry, formatEntry } from './entry.js'
import { currentHolder } from './holder.js'
import { Lease } from './lease.js'
import { readLeases, withLeaseLock, writeLease } from './lease-files.js'
import { readLimits } from './limits.js'
import { hostTooSmallError } from './messages.js'
import { estimateMemory, type GuestKind, type MemoryEstimate } from './usage.js'
import { waitForCapacity } from './wait-for-capacity.js'

export interface LeaseRequest {
  readonly name: string
  /** Name or path of the image. */
  readonly image?: string | undefined
  readonly kind: GuestKind
}

export interface LeaseWait {
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
}

const NO_MEMORY: MemoryEstimate = { expectedMiB: 0, maxMiB: 0 }

/**
 * Takes a lease for a guest to start. Waits in a first-come, first-served queue until capacity is
 * free: standbys are evicted, or other guests end.
 *
 * @throws {InfrastructureError} HOST_TOO_SMALL when the memory of the guest exceeds the limit for
 *   all guests.
 * @throws {UsageError} INVALID_OPTIONS when WITHVM_MEMORY or WITHVM_STARTS is invalid.
 */
export async function takeLease(request: LeaseRequest, wait: LeaseWait): Promise<Lease> {
  const limits = readLimits()
  const { name, kind } = request
  if (kind.memoryBytes > limits.memoryBytes) throw hostTooSmallError([name], kind.memoryBytes, limits)
  const entry = newEntry('starting', request, await estimateMemory(kind))
  return waitForCapacity(entry, { ...wait, limits, kind, reserved: currentHolder().reserved })
}

/**
 * Reserves the capacity of several guests together; they then start with it
 * ({@link withReservation}). So none of these guests waits after another one has started.
 *
 * @throws as {@link takeLease}.
 */
export async function reserveCapacity(requests: readonly LeaseRequest[], wait: LeaseWait): Promise<Lease> {
  const limits = readLimits()
  const names = requests.map(({ name }) => name)
  const memoryBytes = requests.reduce((bytes, { kind }) => bytes + kind.memoryBytes, 0)
  if (memoryBytes > limits.memoryBytes) throw hostTooSmallError(names, memoryBytes, limits)
  const estimates = await Promise.all(requests.map(({ kind }) => estimateMemory(kind)))
  const expectedMiB = estimates.reduce((sum, estimate) => sum + estimate.expectedMiB, 0)
  const entry = newEntry('running', { name: names.join('+') }, { expectedMiB, maxMiB: expectedMiB })
  return waitForCapacity(entry, { ...wait, limits })
}

/**
 * Takes a lease for a standby. Returns undefined unless it fits next to all running and waiting
 * guests.
 *
 * @param onEvict called when the memory is needed for another guest.
 */
export async function takeStandbyLease(
  request: LeaseRequest,
  onEvict: () => void,
  signal: AbortSignal | undefined,
): Promise<Lease | undefined> {
  const limits = readLimits()
  const { kind } = request
  const estimate = await estimateMemory(kind)
  return withLeaseLock(async () => {
    const entries = readLeases()
    const count = entries.filter(({ state }) => state === 'standby').length
    if (count >= limits.standbys) return undefined
    const all = entries.map((entry) =>
      entry.state === 'waiting' ? { ...entry, state: 'running' as const } : entry,
    )
    const { fits } = await findCapacity(all, { ...estimate, for: 'standby' }, limits)
    if (!fits) return undefined
    const entry = newEntry('standby', request, estimate)
    return new Lease(entry, await writeLease(entry, onEvict), { kind, onEvict })
  }, signal)
}

/**
 * Marks the current holder as waiting for another process, until the returned lease is released.
 */
export async function enterBlocked(name: string): Promise<Lease> {
  const entry = newEntry('blocked', { name }, NO_MEMORY)
  return new Lease(entry, await writeLease(entry))
}

/**
 * Returns the entry of a kept guest as text, which the process that keeps the guest passes to
 * `writeLeaseNamed()`.
 */
export function formatKeptLease({ entry }: Lease): string {
  return formatEntry({ ...entry, ticket: drawTicket(), state: 'kept' })
}

function newEntry(
  state: Entry['state'],
  { name, image }: Omit<LeaseRequest, 'kind'>,
  estimate: MemoryEstimate,
): Entry {
  return {
    ticket: drawTicket(),
    state,
    holder: currentHolder().name,
    ...estimate,
    qemuPid: undefined,
    name,
    image: image === undefined ? undefined : basename(image),
  }
}
