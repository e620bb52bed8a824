/** What little this project needs to know of an ELF file: 64-bit, little-endian. */

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

/** Whether the bytes begin as a 64-bit little-endian ELF file does. */
export function isElf64(bytes: Buffer): boolean {
  return bytes.length >= 64 && bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1
}

/** The content of a section, or undefined when there is none of that name. */
export function readElfSection(bytes: Buffer, name: string): Buffer | undefined {
  const section = readSections(bytes).find((candidate) => candidate.name === name)
  return section && contentOf(bytes, section)
}

/** The names of the shared libraries that a program or library asks for. */
export function readNeededLibraries(bytes: Buffer): string[] {
  const sections = readSections(bytes)
  const dynamic = sections.find(({ type }) => type === SHT_DYNAMIC)
  const strings = dynamic && sections[dynamic.link]
  if (dynamic === undefined || strings === undefined) return []
  const table = contentOf(bytes, strings)
  const entries = contentOf(bytes, dynamic)
  const needed: string[] = []
  for (let at = 0; at + 16 <= entries.length; at += 16) {
    if (entries.readBigInt64LE(at) === BigInt(DT_NEEDED)) {
      needed.push(readString(table, Number(entries.readBigUInt64LE(at + 8))))
    }
  }
  return needed
}

/** Where the ELF file proper ends: what kernel modules have behind it is their signature. */
export function findElfEnd(bytes: Buffer): number {
  const { offset, count, entryBytes } = sectionTable(bytes)
  return readSections(bytes).reduce(
    (end, { type, offset: start, size }) => (type === SHT_NOBITS ? end : Math.max(end, start + size)),
    offset + count * entryBytes,
  )
}

/** A copy in which the section has another name, so that who looks for it finds none. */
export function hideElfSection(bytes: Buffer, name: string): Buffer {
  const copy = Buffer.from(bytes)
  const names = readSections(copy)[sectionTable(copy).namesIndex]
  const at = names === undefined ? -1 : contentOf(copy, names).indexOf(`\0${name}\0`, 0, 'latin1')
  if (names !== undefined && at !== -1) copy.write('-', names.offset + at + 1, 'latin1')
  return copy
}

function sectionTable(bytes: Buffer) {
  return {
    offset: Number(bytes.readBigUInt64LE(0x28)),
    entryBytes: bytes.readUInt16LE(0x3a),
    count: bytes.readUInt16LE(0x3c),
    namesIndex: bytes.readUInt16LE(0x3e),
  }
}

function readSections(bytes: Buffer): Section[] {
  if (!isElf64(bytes)) return []
  const table = sectionTable(bytes)
  const headers = Array.from({ length: table.count }, (_, index) => {
    const at = table.offset + index * table.entryBytes
    return {
      nameAt: bytes.readUInt32LE(at),
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 0x18)),
      size: Number(bytes.readBigUInt64LE(at + 0x20)),
      link: bytes.readUInt32LE(at + 0x28),
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
