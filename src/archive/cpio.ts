/** Entry of a cpio archive. */
export interface CpioEntry {
  readonly path: string
  /** Mode including the type bits, for example `0o100755` for a program. */
  readonly mode: number
  readonly content?: Uint8Array
  /** Numbers of a device node. */
  readonly device?: { readonly major: number; readonly minor: number }
}

/**
 * Packs a cpio archive in the "newc" format of the kernel
 * (Documentation/driver-api/early-userspace/buffer-format.rst). All entries belong to root.
 * Directories must precede their content.
 */
export function packCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  const add = (entry: CpioEntry, inode: number): void => {
    const content = entry.content ?? new Uint8Array()
    const name = Buffer.from(`${entry.path}\0`)
    const { major, minor } = entry.device ?? { major: 0, minor: 0 }
    const fields = [inode, entry.mode, 0, 0, 1, 0, content.length, 0, 0, major, minor, name.length, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    parts.push(pad(Buffer.concat([Buffer.from(header), name])), pad(Buffer.from(content)))
  }
  for (const [index, entry] of entries.entries()) add(entry, index + 1)
  add({ path: 'TRAILER!!!', mode: 0 }, 0)
  return Buffer.concat(parts)
}

function pad(bytes: Buffer): Buffer {
  return bytes.length % 4 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - (bytes.length % 4))])
}
