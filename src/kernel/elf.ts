/** Minimal ELF reader for both classes and byte orders. */

interface Section {
  readonly name: string
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

const SHT_NOBITS = 8
const SHT_DYNAMIC = 6
const DT_NEEDED = 1

/** Returns true if the bytes are a little-endian 64-bit ELF file. */
export function isElf64(bytes: Buffer): boolean {
  return isElf(bytes) && bytes[4] === 2 && bytes[5] === 1
}

function isElf(bytes: Buffer): boolean {
  return bytes.length >= 64 && bytes.readUInt32BE(0) === 0x7f454c46
}

/**
 * Creates a reader for numbers in the class (32 or 64 bits) and byte order of the file (System V
 * ABI, chapter 4).
 */
function createReader(bytes: Buffer) {
  const is64 = bytes[4] === 2
  const isLittle = bytes[5] === 1
  const half = (at: number) => (isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at))
  const word = (at: number) => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at))
  const xword = (at: number) => Number(isLittle ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at))
  return { is64, half, word, address: is64 ? xword : word, addressBytes: is64 ? 8 : 4 }
}

/** Returns the content of a section; undefined if it does not exist. */
export function readElfSection(bytes: Buffer, name: string): Buffer | undefined {
  const section = readSections(bytes).find((candidate) => candidate.name === name)
  return section && contentOf(bytes, section)
}

/** Returns the names of the shared libraries that a program or library needs. */
export function readNeededLibraries(bytes: Buffer): string[] {
  const sections = readSections(bytes)
  const dynamic = sections.find(({ type }) => type === SHT_DYNAMIC)
  const strings = dynamic && sections[dynamic.link]
  if (dynamic === undefined || strings === undefined) return []
  const table = contentOf(bytes, strings)
  const entries = contentOf(bytes, dynamic)
  const { address, addressBytes } = createReader(bytes)
  const end = dynamic.offset + entries.length
  const needed: string[] = []
  for (let at = dynamic.offset; at + 2 * addressBytes <= end; at += 2 * addressBytes) {
    if (address(at) === DT_NEEDED) needed.push(readString(table, address(at + addressBytes)))
  }
  return needed
}

/** Returns the end of the ELF data. The signature of a kernel module follows it. */
export function findElfEnd(bytes: Buffer): number {
  const { offset, count, entryBytes } = sectionTable(bytes)
  return readSections(bytes).reduce(
    (end, { type, offset: start, size }) => (type === SHT_NOBITS ? end : Math.max(end, start + size)),
    offset + count * entryBytes,
  )
}

/** Returns a copy in which the section is renamed, so it is not found by its name. */
export function hideElfSection(bytes: Buffer, name: string): Buffer {
  const copy = Buffer.from(bytes)
  const names = readSections(copy)[sectionTable(copy).namesIndex]
  const at = names === undefined ? -1 : contentOf(copy, names).indexOf(`\0${name}\0`, 0, 'latin1')
  if (names !== undefined && at !== -1) copy.write('-', names.offset + at + 1, 'latin1')
  return copy
}

function sectionTable(bytes: Buffer) {
  const { is64, half, address } = createReader(bytes)
  const at = is64 ? 0x3a : 0x2e
  return {
    offset: address(is64 ? 0x28 : 0x20),
    entryBytes: half(at),
    count: half(at + 2),
    namesIndex: half(at + 4),
  }
}

function readSections(bytes: Buffer): Section[] {
  if (!isElf(bytes)) return []
  const table = sectionTable(bytes)
  const { word, address, addressBytes } = createReader(bytes)
  const headers = Array.from({ length: table.count }, (_, index) => {
    const at = table.offset + index * table.entryBytes
    // Name and type are words; flags, address, offset and size have the width of the class; link is
    // a word.
    const field = (number: number) => at + 8 + number * addressBytes
    return {
      nameAt: word(at),
      type: word(at + 4),
      offset: address(field(2)),
      size: address(field(3)),
      link: word(field(4)),
    }
  })
  const names = headers[table.namesIndex]
  if (names === undefined) return []
  const nameTable = bytes.subarray(names.offset, names.offset + names.size)
  return headers.map(({ nameAt, ...rest }) => ({ ...rest, name: readString(nameTable, nameAt) }))
}

function contentOf(bytes: Buffer, section: Section): Buffer {
  return bytes.subarray(section.offset, section.offset + section.size)
}

function readString(table: Buffer, at: number): string {
  return table.toString('latin1', at, table.indexOf(0, at))
}
