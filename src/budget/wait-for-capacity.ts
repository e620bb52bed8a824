import { pollUntil } from '../common/poll.js'
import { VMError } from '../errors.js'
import { type Capacity, findCapacity } from './capacity.js'
import { DeadlockWatch } from './deadlock.js'
import type { Entry } from './entry.js'
import { Lease } from './lease.js'
import { readLeases, requestEviction, withLeaseLock, writeLease } from './lease-files.js'
import type { Limits } from './limits.js'
import { describeDeadlock, describeWait, describeWaited } from './messages.js'
import type { GuestKind } from './usage.js'

/** How often those that wait look, milliseconds. */
const POLL_MS = 40
/** A wait that is shorter is not worth a word: guests end when their tests do, starts end by themselves. */
const REPORT_AFTER_MS = { memory: 2000, starts: 20_000 }

export interface CapacityWait {
  readonly limits: Limits
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
  readonly kind?: GuestKind | undefined
  /** Room that was taken for it and others before. */
  readonly reserved?: Lease | undefined
}

interface Verdict {
  readonly mayStart: boolean
  /** Though others are before it, or there is no capacity. */
  readonly isOutOfTurn: boolean
  readonly capacity: Capacity
}

/** Waits until there is room for what `entry` says and it is its turn, and enters it. */
export async function waitForCapacity(entry: Entry, wait: CapacityWait): Promise<Lease> {
  const { limits, signal, log, kind, reserved } = wait
  const reservedMiB = Math.min(entry.expectedMiB, reserved?.entry.expectedMiB ?? 0)
  let hasCapacity = false
  const onRelease = async () => {
    if (hasCapacity) await growBy(reserved, reservedMiB)
  }
  const startedAt = performance.now()
  const stalemate = new DeadlockWatch()
  let lease: Lease | undefined
  let words = ''
  let hasSpoken = false

  const look = async (): Promise<Lease | undefined> => {
    const entries = readLeases()
    const verdict = await judge(entry, entries, { limits, reservedMiB, stalemate })
    const entered = verdict.mayStart ? await withLeaseLock(() => enter(verdict), signal) : undefined
    const waitedMs = performance.now() - startedAt
    if (entered !== undefined) {
      hasCapacity = true
      await growBy(reserved, -reservedMiB)
      if (verdict.isOutOfTurn) log(describeDeadlock(entry, verdict.capacity, limits))
      if (hasSpoken) log(describeWaited(entry, waitedMs))
      if (lease !== undefined) entered.noteWait(waitedMs, words)
      return entered
    }
    if (lease === undefined) {
      const waiting = { ...entry, state: 'waits', expectedMiB: entry.expectedMiB - reservedMiB } as const
      lease = new Lease(waiting, await writeLease(waiting), { kind, onRelease })
    }
    words = describeWait(entry, { entries, capacity: verdict.capacity, limits })
    const { lacks } = verdict.capacity
    if (!hasSpoken && waitedMs > REPORT_AFTER_MS[lacks === 'memory' ? 'memory' : 'starts']) {
      hasSpoken = true
      log(words)
    }
    if (lacks === 'memory') {
      await evictStandbys(entries, entry.expectedMiB - verdict.capacity.freeMiB)
    }
    return undefined
  }

  /** What others do at this moment may have changed what was found. */
  const enter = async (found: Verdict): Promise<Lease | undefined> => {
    const verdict = found.isOutOfTurn
      ? found
      : await judge(entry, readLeases(), { limits, reservedMiB, stalemate: undefined })
    if (!verdict.mayStart) return undefined
    if (lease === undefined) return new Lease(entry, await writeLease(entry), { kind, onRelease })
    await lease.change(() => ({ state: entry.state, expectedMiB: entry.expectedMiB }))
    return lease
  }

  try {
    return await pollUntil(look, { intervalMs: POLL_MS, signal })
  } catch (error) {
    const isWaiting = lease !== undefined
    await (lease as Lease | undefined)?.release()
    if (!isWaiting || !(error instanceof VMError)) throw error
    throw error.withEvidence([{ label: 'It was waiting for room', text: words }])
  }
}

async function judge(
  entry: Entry,
  entries: readonly Entry[],
  {
    limits,
    reservedMiB,
    stalemate,
  }: { limits: Limits; reservedMiB: number; stalemate: DeadlockWatch | undefined },
): Promise<Verdict> {
  const expectedMiB = entry.expectedMiB - reservedMiB
  const others = entries.filter(({ ticket }) => ticket !== entry.ticket)
  const isBehind = others.some(({ state, ticket }) => state === 'waits' && ticket < entry.ticket)
  // What has its room already is in nobody's way.
  const isFirst = expectedMiB === 0 || !isBehind
  const wish = {
    expectedMiB,
    maxMiB: Math.max(expectedMiB, entry.maxMiB - reservedMiB),
    for: entry.state === 'starts' ? 'start' : 'reservation',
  } as const
  const capacity: Capacity = isFirst
    ? await findCapacity(others, wish, limits)
    : { fits: false, lacks: 'turn', freeMiB: 0 }
  const isInTurn = isFirst && capacity.fits
  const isOutOfTurn = !isInTurn && (stalemate?.isTurnOf(entry.ticket, entries) ?? false)
  return { mayStart: isInTurn || isOutOfTurn, isOutOfTurn, capacity }
}

/** Those that have stood by for longest go first, and no more of them than are needed. */
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
