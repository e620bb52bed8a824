import type { VM } from './vm.js'

const guests = new WeakMap<object, VM>()

/** Notes in which guest a command runs, so that what waits for the command can look after the guest. Gives the command. */
export function noteGuest<T extends object>(command: T, vm: VM): T {
  guests.set(command, vm)
  return command
}

/** The guest in which a command runs; undefined for what `vm.ssh` and `vm.exec` did not give as it is. */
export function guestOf(command: unknown): VM | undefined {
  return typeof command === 'object' && command !== null ? guests.get(command) : undefined
}
