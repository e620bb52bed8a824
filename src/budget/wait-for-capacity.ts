import { pollUntil } from '../common/poll.js'
import { VMError } from '../errors.js'
import { type Capacity, findCapacity } from './capacity.js'
import { DeadlockWatch } from './deadlock.js'
import type { Entry } from './entry.js'
import { Lease } from './lease.js'
import { readLeases, requestEviction, touchLease, withLeaseLock, writeLease } from './lease-files.js'
import type { Limits } from './limits.js'
import { describeDeadlock, describeWait, describeWaited } from './messages.js'
import type { GuestKind } from './usage.js'

/** Poll interval of a waiting guest, in milliseconds. */
const POLL_MS = 40
/**
 * Minimum duration of a wait before it is logged, in milliseconds. Starts end by themselves, so
 * their limit is higher.
 */
const REPORT_AFTER_MS = { memory: 2000, starts: 20_000 }

export interface CapacityWait {
  readonly limits: Limits
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
  readonly kind?: GuestKind | undefined
  /** Capacity that was reserved for this guest and others. */
  readonly reserved?: Lease | undefined
}

interface Decision {
  readonly mayStart: boolean
  /** If true, the guest starts to break a deadlock, without capacity or ahead of the queue. */
  readonly breaksDeadlock: boolean
  readonly capacity: Capacity
}

/** Waits until `entry` is first in the queue and its capacity is free, then takes its lease. */
export async function waitForCapacity(entry: Entry, wait: CapacityWait): Promise<Lease> {
  const { limits, signal, log, kind, reserved } = wait
  const reservedMiB = Math.min(entry.expectedMiB, reserved?.entry.expectedMiB ?? 0)
  let hasCapacity = false
  const onRelease = async () => {
    if (hasCapacity) await growBy(reserved, reservedMiB)
  }
  const startedAt = performance.now()
  const deadlock = new DeadlockWatch()
  let lease: Lease | undefined
  let waitMessage = ''
  let hasReported = false

  const tryAcquire = async (): Promise<Lease | undefined> => {
    if (lease !== undefined) touchLease(lease.entry)
    const entries = readLeases()
    const decision = await decideAdmission(entry, entries, { limits, reservedMiB, deadlock })
    const acquired = decision.mayStart ? await withLeaseLock(() => acquire(decision), signal) : undefined
    const waitedMs = performance.now() - startedAt
    if (acquired !== undefined) {
      hasCapacity = true
      await growBy(reserved, -reservedMiB)
      if (decision.breaksDeadlock) log(describeDeadlock(entry, decision.capacity, limits))
      if (hasReported) log(describeWaited(entry, waitedMs))
      if (lease !== undefined) acquired.recordWait(waitedMs, waitMessage)
      return acquired
    }
    if (lease === undefined) {
      const waiting = { ...entry, state: 'waiting', expectedMiB: entry.expectedMiB - reservedMiB } as const
      lease = new Lease(waiting, await writeLease(waiting), { kind, onRelease })
    }
    waitMessage = describeWait(entry, { entries, capacity: decision.capacity, limits })
    const { blockedBy } = decision.capacity
    if (!hasReported && waitedMs > REPORT_AFTER_MS[blockedBy === 'memory' ? 'memory' : 'starts']) {
      hasReported = true
      log(waitMessage)
    }
    if (blockedBy === 'memory') {
      await evictStandbys(entries, entry.expectedMiB - decision.capacity.freeMiB)
    }
    return undefined
  }

  /** Checks again under the lock, because other processes may have changed the entries. */
  const acquire = async (found: Decision): Promise<Lease | undefined> => {
    const decision = found.breaksDeadlock
      ? found
      : await decideAdmission(entry, readLeases(), { limits, reservedMiB, deadlock: undefined })
    if (!decision.mayStart) return undefined
    if (lease === undefined) return new Lease(entry, await writeLease(entry), { kind, onRelease })
    await lease.change(() => ({ state: entry.state, expectedMiB: entry.expectedMiB }))
    return lease
  }

  try {
    return await pollUntil(tryAcquire, { intervalMs: POLL_MS, signal })
  } catch (error) {
    const isWaiting = lease !== undefined
    await (lease as Lease | undefined)?.release()
    if (!isWaiting || !(error instanceof VMError)) throw error
    throw error.withEvidence([{ label: 'Waiting for capacity', text: waitMessage }])
  }
}

async function decideAdmission(
  entry: Entry,
  entries: readonly Entry[],
  {
    limits,
    reservedMiB,
    deadlock,
  }: { limits: Limits; reservedMiB: number; deadlock: DeadlockWatch | undefined },
): Promise<Decision> {
  const expectedMiB = entry.expectedMiB - reservedMiB
  const others = entries.filter(({ ticket }) => ticket !== entry.ticket)
  const isBehind = others.some(({ state, ticket }) => state === 'waiting' && ticket < entry.ticket)
  // A guest whose memory is fully reserved does not wait in the queue.
  const isFirst = expectedMiB === 0 || !isBehind
  const request = {
    expectedMiB,
    maxMiB: Math.max(expectedMiB, entry.maxMiB - reservedMiB),
    for: entry.state === 'starting' ? 'start' : 'reservation',
  } as const
  const capacity: Capacity = isFirst
    ? await findCapacity(others, request, limits)
    : { fits: false, blockedBy: 'queue', freeMiB: 0 }
  const isNext = isFirst && capacity.fits
  const breaksDeadlock = !isNext && (deadlock?.mayBreak(entry.ticket, entries) ?? false)
  return { mayStart: isNext || breaksDeadlock, breaksDeadlock, capacity }
}

/** Evicts the oldest standbys until enough memory is requested. */
async function evictStandbys(entries: readonly Entry[], neededMiB: number): Promise<void> {
  let missingMiB = neededMiB
  for (const standby of entries.filter(({ state }) => state === 'standby')) {
    if (missingMiB <= 0) return
    await requestEviction(standby)
    missingMiB -= standby.expectedMiB
  }
}

async function growBy(reserved: Lease | undefined, mib: number): Promise<void> {
  if (mib === 0) return
  await reserved?.change(({ expectedMiB }) => ({ expectedMiB: expectedMiB + mib, maxMiB: expectedMiB + mib }))
}
