import type { Entry } from './entry.js'
import { processHolderOf } from './holder.js'

/** How long nothing may change before those that wait for each other are told from those that are about to go on, milliseconds. */
const DEADLOCK_MS = 3000
/** The same where one is being started: it goes on, unless it is its start that wants another guest. */
const WHILE_STARTING_MS = 120_000

/** Finds out whether those that have guests all wait for more, so that none will ever give one back. */
export class DeadlockWatch {
  #seen = ''
  #since = 0

  /**
   * Whether it is the turn of `ticket`, out of turn: nobody who has guests will give one back before it gets another, and so it
   * has been for a while. Of those that have some already it is the first.
   */
  isTurnOf(ticket: string, entries: readonly Entry[], now = performance.now()): boolean {
    const users = entries.filter(({ state }) => state === 'starts' || state === 'runs')
    const kept = new Set(
      entries.filter(({ state }) => state === 'waits' || state === 'blocked').map(({ holder }) => holder),
    )
    const isStalemate = users.length > 0 && users.every(({ holder }) => isWaiting(holder, kept))
    const seen = isStalemate ? users.map((user) => user.ticket).join() : ''
    if (seen !== this.#seen) {
      this.#seen = seen
      this.#since = now
    }
    const isStarting = users.some(({ state }) => state === 'starts')
    if (!isStalemate || now - this.#since < (isStarting ? WHILE_STARTING_MS : DEADLOCK_MS)) return false
    const holders = new Set(users.map(({ holder }) => holder))
    const waiting = entries.filter(({ state }) => state === 'waits')
    const first = waiting.find(({ holder }) => holders.has(holder)) ?? waiting[0]
    return first?.ticket === ticket
  }
}

/** Whether one who has guests waits for more. What is the process's may be for any of those in it. */
function isWaiting(holder: string, waiting: ReadonlySet<string>): boolean {
  const ofProcess = processHolderOf(holder)
  if (waiting.has(holder) || waiting.has(ofProcess)) return true
  return holder === ofProcess && [...waiting].some((other) => processHolderOf(other) === holder)
}
