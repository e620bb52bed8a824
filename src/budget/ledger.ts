import { createHash } from 'node:crypto'
import { userInfo } from 'node:os'
import {
  knock,
  listLockNames,
  type ProcessLock,
  takeProcessLock,
  tryProcessLock,
} from '../common/process-lock.js'
import { type Entry, formatEntry, parseEntries } from './entry.js'

/** How often it is looked whether the ledger is free, and how long it can be in use at most by one that works, milliseconds. */
const LOOK_MS = 3
const PATIENCE_MS = 3000
const IS_SHARED = process.platform === 'linux'

/** What the guests of this process are, where processes cannot see each other's. */
const own = new Map<string, (() => void) | undefined>()

/**
 * All guests of this user on this host. Each is a lock whose name tells all of it: the kernel drops it when its holder
 * ends in whatever way, so that there is nothing that could be stale. Elsewhere than in Linux a process sees its own.
 */
export function readLedger(): Entry[] {
  const beginning = ledgerName('lease')
  if (!IS_SHARED) return parseEntries([...own.keys()])
  try {
    return parseEntries(listLockNames(beginning).map((name) => name.slice(beginning.length)))
  } catch {
    return [] // a container may hide the list: then there is nothing to go by but the memory that is free
  }
}

/** Enters a guest. `onKnock` is called when somebody else wants its room. */
export async function enterGuest(entry: Entry, onKnock?: () => void): Promise<ProcessLock> {
  const name = formatEntry(entry)
  if (!IS_SHARED) {
    own.set(name, onKnock)
    return { release: async () => void own.delete(name) }
  }
  // No two have the same ticket, so that this is free unless somebody wants to be in the way.
  return (await tryProcessLock(nameOf(entry), onKnock)) ?? { release: async () => {} }
}

/** The name of the lock that stands for a guest. */
export function nameOf(entry: Entry): string {
  return ledgerName('lease') + formatEntry(entry)
}

/** Asks a guest that stands by to make room. */
export async function askToGiveWay(entry: Entry): Promise<void> {
  if (IS_SHARED) await knock(nameOf(entry))
  else own.get(formatEntry(entry))?.()
}

/**
 * Runs `work` while no other process changes the ledger. A process that was stopped in the middle of it must not hold up
 * all others: after some seconds it is not waited for.
 */
export async function withLedger<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const patience = AbortSignal.timeout(PATIENCE_MS)
  const either = signal === undefined ? patience : AbortSignal.any([patience, signal])
  const lock = await takeProcessLock(ledgerName('ledger'), { signal: either, intervalMs: LOOK_MS }).catch(
    () => undefined,
  )
  try {
    signal?.throwIfAborted()
    return await work()
  } finally {
    await lock?.release()
  }
}

/** Processes with the same `WITHVM_POOL` share a ledger; else all of this user's do. */
function ledgerName(what: 'lease' | 'ledger'): string {
  const pool = process.env.WITHVM_POOL ?? ''
  const mark = pool === '' ? '' : `.${createHash('sha256').update(pool).digest('hex').slice(0, 4)}`
  return `${what}-${process.getuid?.() ?? userInfo().username}${mark}-`
}
