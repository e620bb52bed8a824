import { AsyncLocalStorage } from 'node:async_hooks'
import { threadId } from 'node:worker_threads'
import type { Lease } from './lease.js'

/** Who wants guests: what has some and wants one more gives none back before it has that one. */
export interface Party {
  readonly name: string
  /** Room that was taken for guests that are started together. */
  readonly reserved?: Lease | undefined
}

const current = new AsyncLocalStorage<Party>()
const OF_PROCESS: Party = { name: `${process.pid}.${threadId}.0` }
const named = new WeakMap<object, Party>()
let count = 0

/** The one in which this is called: that of this process, unless it is known better. */
export function currentParty(): Party {
  return current.getStore() ?? OF_PROCESS
}

/** Runs `work` for a test (or whatever `owner` stands for): the guests that it starts are the owner's. */
export function inPartyOf<T>(owner: object, work: () => T): T {
  const party = named.get(owner) ?? newParty()
  named.set(owner, party)
  return current.run(party, work)
}

/** Runs `work` for itself, unless it is part of something that has guests already. */
export function inOwnParty<T>(work: () => T): T {
  return current.run(current.getStore() ?? newParty(), work)
}

/** Runs `work` with room that was taken for it. */
export function withReserved<T>(reserved: Lease, work: () => T): T {
  return current.run({ name: currentParty().name, reserved }, work)
}

/** The party whose guests may be anybody's in the same process. */
export function partyOfProcess(party: string): string {
  return party.replace(/\d+$/, '0')
}

function newParty(): Party {
  return { name: `${process.pid}.${threadId}.${++count}` }
}
