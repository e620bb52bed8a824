import type { FileHandle } from 'node:fs/promises'
import { MIB } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'

export type TarType = 'file' | 'folder' | 'symlink' | 'hardlink' | 'character' | 'block' | 'fifo'

/** A member of a tar archive. */
export interface TarEntry {
  /** Path without a leading `/` or `./`; empty for the root itself. */
  readonly path: string
  readonly type: TarType
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Length of the content, and its offset in the archive. */
  readonly bytes: number
  readonly offset: number
  /** Target of a link, as in the archive. */
  readonly target: string
}

const BLOCK_BYTES = 512
const LINE_END = 10
/** Maximum size of a long name or of the attributes of a member. */
const MAX_META_BYTES = MIB
/**
 * Maximum number of members, long names and attributes included. A desktop system has about half a
 * million files.
 */
const MAX_MEMBERS = 4_000_000
const MAX_ID = 2 ** 32 - 2
/** Limit of Linux on paths and link targets (PATH_MAX). */
const MAX_PATH_CHARACTERS = 4096
/** Maximum sum of all paths and link targets. A system of half a million files has about 50 Mi. */
export const MAX_PATHS_CHARACTERS = 256 * MIB
const TYPES: Readonly<Record<string, TarType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'folder',
  '6': 'fifo',
}

/**
 * Reads the members of a ustar, pax or GNU archive (tar(5)).
 *
 * @param name name of the archive in messages.
 * @throws {UsageError} IMAGE_INVALID when it is damaged or truncated, or has members with `..` or
 *   of an unknown type.
 */
export async function* readTar(
  archive: FileHandle,
  name: string,
  signal?: AbortSignal,
): AsyncGenerator<TarEntry> {
  const { size } = await archive.stat()
  let pax: ReadonlyMap<string, string> = new Map()
  let longPath: string | undefined
  let longTarget: string | undefined
  let members = 0
  let characters = 0
  for (let at = 0; at + BLOCK_BYTES <= size; ) {
    signal?.throwIfAborted()
    const header = await readAt(archive, at, BLOCK_BYTES)
    if (header.every((byte) => byte === 0)) return
    if (!hasValidChecksum(header)) throw damagedTarError(name, `no header of a member at byte ${at}`)
    const flag = header.toString('latin1', 156, 157)
    const bytes = flag === '1' || flag === '2' ? 0 : Number(pax.get('size') ?? readNumber(header, 124, 12))
    const offset = at + BLOCK_BYTES
    if (!Number.isSafeInteger(bytes) || bytes < 0 || offset + bytes > size)
      throw damagedTarError(name, `a member that ends after byte ${size}`)
    at = offset + Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES
    members += 1
    if (members > MAX_MEMBERS) throw damagedTarError(name, `more than ${MAX_MEMBERS} members`)
    if ('xgLK'.includes(flag)) {
      if (bytes > MAX_META_BYTES) throw damagedTarError(name, `a name of ${bytes} bytes`)
      const text = await readAt(archive, offset, bytes)
      if (flag === 'x') pax = parsePax(text, name)
      if (flag === 'L') longPath = readField(text, 0, bytes)
      if (flag === 'K') longTarget = readField(text, 0, bytes)
      continue
    }
    const type = TYPES[flag]
    const written = pax.get('path') ?? longPath ?? readPath(header)
    if (type === undefined || [...pax.keys()].some((key) => key.startsWith('GNU.sparse'))) {
      throw damagedTarError(name, `${written}, a member of a kind that is not known here ('${flag}')`)
    }
    const target = pax.get('linkpath') ?? longTarget ?? readField(header, 157, 100)
    if (Math.max(written.length, target.length) > MAX_PATH_CHARACTERS)
      throw damagedTarError(name, `a path of more than ${MAX_PATH_CHARACTERS} characters`)
    characters += written.length + target.length
    if (characters > MAX_PATHS_CHARACTERS) throw damagedTarError(name, 'paths that are too long together')
    yield {
      path: cleanPath(written, name),
      type: type === 'file' && written.endsWith('/') ? 'folder' : type,
      mode: readNumber(header, 100, 8) & 0o7777,
      uid: checkId(Number(pax.get('uid') ?? readNumber(header, 108, 8)), name),
      gid: checkId(Number(pax.get('gid') ?? readNumber(header, 116, 8)), name),
      bytes,
      offset,
      target,
    }
    pax = new Map()
    longPath = undefined
    longTarget = undefined
  }
}

function checkId(id: number, archive: string): number {
  if (Number.isInteger(id) && id >= 0 && id <= MAX_ID) return id
  throw damagedTarError(archive, `a member of the user or group ${id}`)
}

/**
 * Returns the path of a member relative to the root.
 * @throws {UsageError} IMAGE_INVALID when it leads out of the archive.
 */
export function cleanPath(path: string, archive: string): string {
  const steps = path.split('/').filter((step) => step !== '' && step !== '.')
  if (steps.includes('..')) throw damagedTarError(archive, `a member that leads out of it, ${path}`)
  return steps.join('/')
}

/** Yields the content of a member in chunks. */
export async function* readMember(
  archive: FileHandle,
  { offset, bytes }: Pick<TarEntry, 'offset' | 'bytes'>,
): AsyncGenerator<Buffer> {
  const pieceBytes = MIB
  for (let at = 0; at < bytes; at += pieceBytes) {
    yield await readAt(archive, offset + at, Math.min(pieceBytes, bytes - at))
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  for (let read = 0; read < length; ) {
    const { bytesRead } = await file.read(buffer, read, length - read, position + read)
    if (bytesRead === 0) break
    read += bytesRead
  }
  return buffer
}

/**
 * Returns true if the checksum is correct: the sum of all bytes, with spaces in place of the
 * checksum field.
 */
function hasValidChecksum(header: Buffer): boolean {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0)
  return sum === readNumber(header, 148, 8)
}

/** Parses octal digits, or a binary number if the first bit is set. */
function readNumber(header: Buffer, at: number, length: number): number {
  const field = header.subarray(at, at + length)
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(field.toString('latin1').trim() || '0', 8)
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, (field[0] ?? 0) & 0x7f)
}

function readField(bytes: Buffer, at: number, length: number): string {
  const field = bytes.subarray(at, at + length)
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end === -1 ? length : end)
}

/** Returns the ustar prefix. GNU archives use the field differently. */
function readPath(header: Buffer): string {
  const isUstar = header.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isUstar ? readField(header, 345, 155) : ''
  const name = readField(header, 0, 100)
  return prefix === '' ? name : `${prefix}/${name}`
}

/**
 * Parses records of the form `LENGTH KEY=VALUE\n`. The length includes its own digits; a smaller
 * length would make the parser read the same bytes again.
 */
function parsePax(text: Buffer, name: string): Map<string, string> {
  const records = new Map<string, string>()
  for (let at = 0; at < text.length; ) {
    const [digits = ''] = /^[1-9]\d{0,9} /.exec(text.toString('latin1', at, at + 11)) ?? []
    const end = at + Number(digits)
    const record = text.toString('utf8', at + digits.length, end - 1)
    const equals = record.indexOf('=')
    if (end > text.length || text[end - 1] !== LINE_END || equals < 1)
      throw damagedTarError(name, `an invalid pax header at byte ${at} of ${text.length}`)
    records.set(record.slice(0, equals), record.slice(equals + 1))
    at = end
  }
  return records
}

function damagedTarError(name: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The archive ${name} cannot be read.`,
    expected: 'a complete tar archive (ustar, pax or GNU)',
    got,
    hint: 'Create or download the archive again: it is damaged or incomplete.',
  })
}
