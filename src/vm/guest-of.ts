import type { VM } from './vm.js'

const guests = new WeakMap<object, VM>()

/** Notes to which guest something belongs (a command that runs, its console), for who has only that in hand. Gives it back. */
export function noteGuest<T extends object>(thing: T, vm: VM): T {
  guests.set(thing, vm)
  return thing
}

/** The guest of a console, or of a command that runs; undefined for what `vm.ssh` and `vm.exec` did not give as it is. */
export function guestOf(thing: unknown): VM | undefined {
  return typeof thing === 'object' && thing !== null ? guests.get(thing) : undefined
}
