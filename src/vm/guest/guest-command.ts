import type { GuestHandle } from './guest-handle.js'

/** Key of the guest in the promise of a command. */
export const GUEST = Symbol('guest')

/**
 * Adds the guest to the promise of a command, for matchers: they receive only the promise. Returns
 * the promise.
 */
export function addGuest<Command extends Promise<unknown>>(command: Command, vm: GuestHandle): Command {
  // Not enumerable, so that Vitest does not print the guest with the promise.
  return Object.defineProperty(command, GUEST, { value: vm })
}
