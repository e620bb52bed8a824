/** Bytes before the first section of a migration stream: magic number and version. */
const HEADER_BYTES = 8
/** Type of a section with the complete state of a device (QEMU's migration/savevm.c). */
const SECTION_FULL = 4
/** Longest name of a device in a section, bytes. */
const MAX_NAME_BYTES = 255

/**
 * Replaces the devices of a saved state. Its sections with RAM, which come first, are kept: they
 * contain the layout of RAM, and the ROMs.
 *
 * @param base state saved by a migration without RAM (`x-ignore-shared`).
 * @param devices state saved by `xen-save-devices-state`, which contains devices only.
 * @returns undefined if the end of the RAM sections cannot be found.
 */
export function spliceState(base: Buffer, devices: Buffer): Buffer | undefined {
  const first = readFirstSection(devices)
  if (first === undefined) return undefined
  const at = base.indexOf(first)
  // Twice, if the content of a ROM happens to look like the section.
  if (at < HEADER_BYTES || base.indexOf(first, at + 1) !== -1) return undefined
  return Buffer.concat([base.subarray(0, at), devices.subarray(HEADER_BYTES)])
}

/**
 * Returns the header of the first section: type, id, length of the name, name, instance and
 * version. The same device is the first one in both files.
 */
function readFirstSection(state: Buffer): Buffer | undefined {
  const nameAt = HEADER_BYTES + 6
  if (state.length < nameAt + MAX_NAME_BYTES + 8) return undefined
  if (state[HEADER_BYTES] !== SECTION_FULL) return undefined
  const nameBytes = state[nameAt - 1] ?? 0
  return nameBytes === 0 ? undefined : state.subarray(HEADER_BYTES, nameAt + nameBytes + 8)
}
