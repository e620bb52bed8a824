import { pollUntil } from '../common/poll.js'
import { VMError } from '../errors.js'
import type { Entry } from './entry.js'
import { Lease } from './lease.js'
import { askToGiveWay, enterGuest, readLedger, withLedger } from './ledger.js'
import type { Limits } from './limits.js'
import { findRoom, type Room } from './room.js'
import { StalemateWatch } from './stalemate.js'
import type { GuestKind } from './usage.js'
import { describeBeyond, describeEnd, describeWait } from './words.js'

/** How often those that wait look, milliseconds. */
const LOOK_MS = 40
/** A wait that is shorter is not worth a word: guests end when their tests do, starts end by themselves. */
const WORDS_AFTER_MS = { memory: 2000, starts: 20_000 }

export interface RoomWait {
  readonly limits: Limits
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
  readonly kind?: GuestKind | undefined
  /** Room that was taken for it and others before. */
  readonly reserved?: Lease | undefined
}

interface Verdict {
  readonly mayStart: boolean
  /** Though others are before it, or there is no room. */
  readonly isOutOfTurn: boolean
  readonly room: Room
}

/** Waits until there is room for what `entry` says and it is its turn, and enters it. */
export async function waitForRoom(entry: Entry, wait: RoomWait): Promise<Lease> {
  const { limits, signal, log, kind, reserved } = wait
  const reservedMiB = Math.min(entry.claimMiB, reserved?.entry.claimMiB ?? 0)
  let hasRoom = false
  const onRelease = async () => {
    if (hasRoom) await growBy(reserved, reservedMiB)
  }
  const startedAt = performance.now()
  const stalemate = new StalemateWatch()
  let lease: Lease | undefined
  let words = ''
  let hasSpoken = false

  const look = async (): Promise<Lease | undefined> => {
    const entries = readLedger()
    const verdict = await judge(entry, entries, { limits, reservedMiB, stalemate })
    const entered = verdict.mayStart ? await withLedger(() => enter(verdict), signal) : undefined
    const waitedMs = performance.now() - startedAt
    if (entered !== undefined) {
      hasRoom = true
      await growBy(reserved, -reservedMiB)
      if (verdict.isOutOfTurn) log(describeBeyond(entry, verdict.room, limits))
      if (hasSpoken) log(describeEnd(entry, waitedMs))
      if (lease !== undefined) entered.noteWait(waitedMs, words)
      return entered
    }
    if (lease === undefined) {
      const waiting = { ...entry, state: 'waits', claimMiB: entry.claimMiB - reservedMiB } as const
      lease = new Lease(waiting, await enterGuest(waiting), { kind, onRelease })
    }
    words = describeWait(entry, { entries, room: verdict.room, limits })
    const { lacks } = verdict.room
    if (!hasSpoken && waitedMs > WORDS_AFTER_MS[lacks === 'memory' ? 'memory' : 'starts']) {
      hasSpoken = true
      log(words)
    }
    if (lacks === 'memory') {
      await askStandbys(entries, entry.claimMiB - verdict.room.freeMiB)
    }
    return undefined
  }

  /** What others do at this moment may have changed what was found. */
  const enter = async (found: Verdict): Promise<Lease | undefined> => {
    const verdict = found.isOutOfTurn
      ? found
      : await judge(entry, readLedger(), { limits, reservedMiB, stalemate: undefined })
    if (!verdict.mayStart) return undefined
    if (lease === undefined) return new Lease(entry, await enterGuest(entry), { kind, onRelease })
    await lease.change(() => ({ state: entry.state, claimMiB: entry.claimMiB }))
    return lease
  }

  try {
    return await pollUntil(look, { intervalMs: LOOK_MS, signal })
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
  }: { limits: Limits; reservedMiB: number; stalemate: StalemateWatch | undefined },
): Promise<Verdict> {
  const claimMiB = entry.claimMiB - reservedMiB
  const others = entries.filter(({ ticket }) => ticket !== entry.ticket)
  const isBehind = others.some(({ state, ticket }) => state === 'waits' && ticket < entry.ticket)
  // What has its room already is in nobody's way.
  const isFirst = claimMiB === 0 || !isBehind
  const wish = {
    claimMiB,
    mostMiB: Math.max(claimMiB, entry.mostMiB - reservedMiB),
    for: entry.state === 'starts' ? 'start' : 'reservation',
  } as const
  const room: Room = isFirst
    ? await findRoom(others, wish, limits)
    : { fits: false, lacks: 'turn', freeMiB: 0 }
  const isInTurn = isFirst && room.fits
  const isOutOfTurn = !isInTurn && (stalemate?.isTurnOf(entry.ticket, entries) ?? false)
  return { mayStart: isInTurn || isOutOfTurn, isOutOfTurn, room }
}

/** Those that have stood by for longest go first, and no more of them than are needed. */
async function askStandbys(entries: readonly Entry[], neededMiB: number): Promise<void> {
  let missingMiB = neededMiB
  for (const standby of entries.filter(({ state }) => state === 'stands-by')) {
    if (missingMiB <= 0) return
    await askToGiveWay(standby)
    missingMiB -= standby.claimMiB
  }
}

async function growBy(reserved: Lease | undefined, mib: number): Promise<void> {
  if (mib === 0) return
  await reserved?.change(({ claimMiB }) => ({ claimMiB: claimMiB + mib, mostMiB: claimMiB + mib }))
}
