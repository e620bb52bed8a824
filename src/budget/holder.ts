import { AsyncLocalStorage } from 'node:async_hooks'
import { threadId } from 'node:worker_threads'
import type { Lease } from './lease.js'

/** Who wants guests: what has some and wants one more gives none back before it has that one. */
export interface LeaseHolder {
  readonly name: string
  /** Room that was taken for guests that are started together. */
  readonly reserved?: Lease | undefined
}

const current = new AsyncLocalStorage<LeaseHolder>()
const PROCESS_HOLDER: LeaseHolder = { name: `${process.pid}.${threadId}.0` }
const named = new WeakMap<object, LeaseHolder>()
let count = 0

/** The one in which this is called: that of this process, unless it is known better. */
export function currentHolder(): LeaseHolder {
  return current.getStore() ?? PROCESS_HOLDER
}

/** Runs `work` for a test (or whatever `owner` stands for): the guests that it starts are the owner's. */
export function runAsHolder<T>(owner: object, work: () => T): T {
  const holder = named.get(owner) ?? newHolder()
  named.set(owner, holder)
  return current.run(holder, work)
}

/** Runs `work` for itself, unless it is part of something that has guests already. */
export function runAsOwnHolder<T>(work: () => T): T {
  return current.run(current.getStore() ?? newHolder(), work)
}

/** Runs `work` with room that was taken for it. */
export function withReservation<T>(reserved: Lease, work: () => T): T {
  return current.run({ name: currentHolder().name, reserved }, work)
}

/** The holder whose guests may be anybody's in the same process. */
export function processHolderOf(holder: string): string {
  return holder.replace(/\d+$/, '0')
}

function newHolder(): LeaseHolder {
  return { name: `${process.pid}.${threadId}.${++count}` }
}
