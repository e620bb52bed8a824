import type { Entry } from './entry.js'
import { getProcessHolder } from './holder.js'

/**
 * Time without a change after which holders that wait for each other count as deadlocked,
 * in milliseconds.
 */
const DEADLOCK_MS = 3000
/**
 * {@link DEADLOCK_MS} while a guest is starting. The start makes progress by itself, unless it
 * needs another guest.
 */
const WHILE_STARTING_MS = 120_000

/**
 * Detects that every holder of guests is waiting for another guest, so that no guest will be
 * released.
 */
export class DeadlockWatch {
  #deadlocked = ''
  #since = 0

  /**
   * Returns true if the entry `ticket` may start to break a deadlock: the deadlock has lasted for
   * {@link DEADLOCK_MS}, and the entry is the first in the queue whose holder already has guests.
   */
  mayBreak(ticket: string, entries: readonly Entry[], now = performance.now()): boolean {
    const users = entries.filter(({ state }) => state === 'starting' || state === 'running')
    const waitingHolders = new Set(
      entries.filter(({ state }) => state === 'waiting' || state === 'blocked').map(({ holder }) => holder),
    )
    const isDeadlock = users.length > 0 && users.every(({ holder }) => isWaiting(holder, waitingHolders))
    const tickets = isDeadlock ? users.map((user) => user.ticket).join() : ''
    if (tickets !== this.#deadlocked) {
      this.#deadlocked = tickets
      this.#since = now
    }
    const isStarting = users.some(({ state }) => state === 'starting')
    if (!isDeadlock || now - this.#since < (isStarting ? WHILE_STARTING_MS : DEADLOCK_MS)) return false
    const holders = new Set(users.map(({ holder }) => holder))
    const waiting = entries.filter(({ state }) => state === 'waiting')
    const first = waiting.find(({ holder }) => holders.has(holder)) ?? waiting[0]
    return first?.ticket === ticket
  }
}

/**
 * Returns true if a holder of guests is waiting for another. The holder of a process stands for
 * every holder in it.
 */
function isWaiting(holder: string, waiting: ReadonlySet<string>): boolean {
  const processHolder = getProcessHolder(holder)
  if (waiting.has(holder) || waiting.has(processHolder)) return true
  return holder === processHolder && [...waiting].some((other) => getProcessHolder(other) === holder)
}
