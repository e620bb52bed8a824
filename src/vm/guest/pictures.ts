import type { GuestHandle } from './guest-handle.js'

const ofGuest = new WeakMap<GuestHandle, Map<string, Buffer>>()

/** Notes what was seen of a guest's display, as PNG, to be saved with its logs. Gives the name of the file. */
export function notePicture(vm: GuestHandle, png: Buffer): string {
  const pictures = ofGuest.get(vm) ?? new Map<string, Buffer>()
  ofGuest.set(vm, pictures)
  const name = `seen-${pictures.size + 1}.png`
  pictures.set(name, png)
  return name
}

/** What was noted of a guest's display, by the names of the files. */
export function picturesOf(vm: GuestHandle): ReadonlyMap<string, Buffer> {
  return ofGuest.get(vm) ?? new Map()
}
