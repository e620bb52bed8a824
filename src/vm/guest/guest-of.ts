import type { GuestHandle } from './guest-handle.js'

const guests = new WeakMap<object, GuestHandle>()

/** Associates an object, such as a running command or a console, with its guest, for {@link guestOf}. Returns the object. */
export function associateGuest<T extends object>(object: T, vm: GuestHandle): T {
  guests.set(object, vm)
  return object
}

/** Returns the guest of a console, or of a command promise exactly as returned by `vm.ssh` or `vm.exec`. */
export function guestOf(value: unknown): GuestHandle | undefined {
  return typeof value === 'object' && value !== null ? guests.get(value) : undefined
}
