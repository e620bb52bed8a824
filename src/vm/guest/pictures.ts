import type { GuestHandle } from './guest-handle.js'

const byGuest = new WeakMap<GuestHandle, Map<string, Buffer>>()

/** Records a screenshot (PNG) that is saved with the guest's logs. Returns its file name. */
export function recordPicture(vm: GuestHandle, png: Buffer): string {
  const pictures = byGuest.get(vm) ?? new Map<string, Buffer>()
  byGuest.set(vm, pictures)
  const name = `seen-${pictures.size + 1}.png`
  pictures.set(name, png)
  return name
}

/** Returns the recorded screenshots of a guest by file name. */
export function picturesOf(vm: GuestHandle): ReadonlyMap<string, Buffer> {
  return byGuest.get(vm) ?? new Map()
}
