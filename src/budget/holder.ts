import { AsyncLocalStorage } from 'node:async_hooks'
import { threadId } from 'node:worker_threads'
import type { Lease } from './lease.js'

/**
 * Holder of guests, such as a test. A holder that waits for another guest releases none before it
 * gets that guest.
 */
export interface LeaseHolder {
  readonly name: string
  /** Capacity reserved for guests that are started together. */
  readonly reserved?: Lease | undefined
}

const current = new AsyncLocalStorage<LeaseHolder>()
const PROCESS_HOLDER: LeaseHolder = { name: `${process.pid}.${threadId}.0` }
let count = 0

/**
 * Returns the holder of the current async context, or the holder of this process outside of one.
 */
export function currentHolder(): LeaseHolder {
  return current.getStore() ?? PROCESS_HOLDER
}

/** Creates a holder, for example for a test. */
export function createHolder(): LeaseHolder {
  return { name: `${process.pid}.${threadId}.${++count}` }
}

/** Runs `work` with a holder. Guests that `work` starts belong to that holder. */
export function runAsHolder<T>(holder: LeaseHolder, work: () => T): T {
  return current.run(holder, work)
}

/** Runs `work` with a new holder, unless the current async context already has one. */
export function runAsOwnHolder<T>(work: () => T): T {
  return current.run(current.getStore() ?? createHolder(), work)
}

/** Runs `work` with capacity that was reserved for it. */
export function withReservation<T>(reserved: Lease, work: () => T): T {
  return current.run({ name: currentHolder().name, reserved }, work)
}

/**
 * Returns the holder of the process of `holder`, whose guests may belong to any holder in that
 * process.
 */
export function getProcessHolder(holder: string): string {
  return holder.replace(/\d+$/, '0')
}
