import type { GuestHandle } from './guest-handle.js'

const guests = new WeakMap<object, GuestHandle>()

/** Notes to which guest something belongs (a command that runs, its console), for who has only that in hand. Gives it back. */
export function noteGuest<T extends object>(thing: T, vm: GuestHandle): T {
  guests.set(thing, vm)
  return thing
}

/** The guest of a console, or of a command that runs; undefined for what `vm.ssh` and `vm.exec` did not give as it is. */
export function guestOf(thing: unknown): GuestHandle | undefined {
  return typeof thing === 'object' && thing !== null ? guests.get(thing) : undefined
}
