/** File to pack. */
export interface PackedFile {
  readonly content: string | Uint8Array
  /** Permission bits. */
  readonly mode: number
}

const BLOCK_BYTES = 512
/** Longest path in a header; a longer one is in an extended header (pax). */
const MAX_NAME_BYTES = 100

/**
 * Packs files of root into an archive (ustar with pax headers for long paths, tar(5)). Pure.
 *
 * @param files files by absolute path
 */
export function packTar(files: Readonly<Record<string, PackedFile>>): Buffer {
  const parts = Object.entries(files).flatMap(([path, { content, mode }]) => {
    const name = `.${path}`
    const bytes = Buffer.from(content)
    const isLong = Buffer.byteLength(name) > MAX_NAME_BYTES
    const extended = isLong ? pack('pax', 'x', 0o644, formatRecord('path', name)) : []
    return [...extended, ...pack(isLong ? 'long' : name, '0', mode, bytes)]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)])
}

function pack(name: string, type: string, mode: number, content: Buffer): Buffer[] {
  const header = Buffer.alloc(BLOCK_BYTES)
  header.write(name, 0)
  writeOctal(header, 100, mode)
  writeOctal(header, 108, 0)
  writeOctal(header, 116, 0)
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write(`${Math.floor(Date.now() / 1000).toString(8)}\0`, 136)
  header.write(' '.repeat(8), 148)
  header.write(`${type}`, 156)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return [header, content, Buffer.alloc(-content.length & (BLOCK_BYTES - 1))]
}

function writeOctal(header: Buffer, offset: number, value: number): void {
  header.write(`${value.toString(8).padStart(7, '0')}\0`, offset)
}

/** Formats a record of an extended header, which starts with its own length. */
function formatRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`
  const bytes = Buffer.byteLength(rest)
  let length = bytes + String(bytes).length
  if (String(length).length > String(bytes).length) length = bytes + String(length).length
  return Buffer.from(`${length}${rest}`)
}
