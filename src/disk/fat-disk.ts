/** Sector size, bytes, as on every disk that QEMU emulates. */
const SECTOR = 512
/**
 * With more clusters, the file system would be a FAT16 (Microsoft's "FAT File System
 * Specification", 2005, page 15).
 */
const MAX_CLUSTERS = 4084
const ROOT_ENTRIES = 64
const ENTRY = 32
/** Offsets of the characters of a long name in a directory entry. */
const LONG_CHARS = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]
const ATTRIBUTE = { volumeLabel: 0x08, archive: 0x20, longName: 0x0f } as const
/** 1 January 1980, the first date that FAT can store. */
const FIRST_DAY = 0x21
const LAST_CLUSTER = 0xfff

interface Layout {
  readonly sectorsPerCluster: number
  readonly clusters: number
  readonly sectorsPerFat: number
}

/**
 * Builds a disk that contains one FAT12 file system without a partition table, like a floppy disk,
 * with a few files in the root folder. Every kernel that boots from UEFI can read it. Pure: the
 * same files produce the same bytes.
 *
 * @param label up to 11 ASCII capitals and digits
 */
export function buildFatDisk(label: string, files: Readonly<Record<string, Uint8Array>>): Buffer {
  const layout = planLayout(Object.values(files).map(({ length }) => length))
  const { sectorsPerCluster, clusters, sectorsPerFat } = layout
  const clusterBytes = sectorsPerCluster * SECTOR
  const rootStart = (1 + 2 * sectorsPerFat) * SECTOR
  const dataStart = rootStart + ROOT_ENTRIES * ENTRY
  const disk = Buffer.alloc(dataStart + clusters * clusterBytes)
  writeBootSector(disk, label, layout)
  const fat = [0xff8, LAST_CLUSTER]
  const entries = [buildEntry(label.padEnd(11), ATTRIBUTE.volumeLabel)]
  Object.entries(files).forEach(([name, content], index) => {
    const first = content.length === 0 ? 0 : fat.length
    const count = Math.ceil(content.length / clusterBytes)
    for (let n = 1; n <= count; n++) fat.push(n === count ? LAST_CLUSTER : fat.length + 1)
    if (first > 0) disk.set(content, dataStart + (first - 2) * clusterBytes)
    const short = `FILE${index}`.padEnd(11)
    entries.push(...buildLongName(name, short))
    entries.push(buildEntry(short, ATTRIBUTE.archive, first, content.length))
  })
  const packed = packFat(fat)
  packed.copy(disk, SECTOR)
  packed.copy(disk, (1 + sectorsPerFat) * SECTOR)
  Buffer.concat(entries).copy(disk, rootStart)
  return disk
}

function planLayout(sizes: readonly number[]): Layout {
  let sectorsPerCluster = 1
  const needed = () => sizes.reduce((sum, size) => sum + Math.ceil(size / (sectorsPerCluster * SECTOR)), 0)
  while (needed() > MAX_CLUSTERS && sectorsPerCluster < 128) sectorsPerCluster *= 2
  // Some tools consider a file system of a few clusters damaged.
  const clusters = Math.max(64, needed())
  return { sectorsPerCluster, clusters, sectorsPerFat: Math.ceil(((clusters + 2) * 1.5) / SECTOR) }
}

function writeBootSector(disk: Buffer, label: string, layout: Layout): void {
  const sectors = disk.length / SECTOR
  disk.set([0xeb, 0x3c, 0x90], 0) // jump over the parameters
  disk.write('WITHVM  ', 3, 'latin1')
  disk.writeUInt16LE(SECTOR, 11)
  disk[13] = layout.sectorsPerCluster
  disk.writeUInt16LE(1, 14) // sectors before the first FAT
  disk[16] = 2 // FATs
  disk.writeUInt16LE(ROOT_ENTRIES, 17)
  if (sectors < 0x10000) disk.writeUInt16LE(sectors, 19)
  else disk.writeUInt32LE(sectors, 32)
  disk[21] = 0xf8 // media type: fixed disk
  disk.writeUInt16LE(layout.sectorsPerFat, 22)
  disk.writeUInt16LE(32, 24) // sectors of a track
  disk.writeUInt16LE(64, 26) // heads
  disk[36] = 0x80 // the drive's number
  disk[38] = 0x29 // the next three fields are valid
  disk.write('WTVM', 39, 'latin1')
  disk.write(label.padEnd(11), 43, 'latin1')
  disk.write('FAT12   ', 54, 'latin1')
  disk.set([0xcd, 0x18], 62) // int 0x18: a BIOS that boots it continues with the next disk
  disk.set([0x55, 0xaa], 510)
}

/** Packs two numbers of 12 bits into three bytes. */
function packFat(fat: readonly number[]): Buffer {
  const packed = Buffer.alloc(Math.ceil(fat.length / 2) * 3)
  fat.forEach((next, index) => {
    const at = (index >> 1) * 3
    if (index % 2 === 0) packed.writeUInt16LE(next, at)
    else packed.writeUInt16LE((next << 4) | (packed[at + 1] as number), at + 1)
  })
  return packed
}

function buildEntry(shortName: string, attribute: number, cluster = 0, bytes = 0): Buffer {
  const entry = Buffer.alloc(ENTRY)
  entry.write(shortName, 'latin1')
  entry[11] = attribute
  for (const at of [16, 18, 24]) entry.writeUInt16LE(FIRST_DAY, at)
  entry.writeUInt16LE(cluster, 26)
  entry.writeUInt32LE(bytes, 28)
  return entry
}

/** Builds the entries of a long name, which precede the short entry, the last piece first. */
function buildLongName(name: string, shortName: string): Buffer[] {
  const sum = [...shortName].reduce((s, c) => (((s & 1) << 7) + (s >> 1) + c.charCodeAt(0)) & 0xff, 0)
  const size = LONG_CHARS.length
  const pieces = Math.ceil(name.length / size)
  return Array.from({ length: pieces }, (_, index) => {
    const piece = pieces - index
    const entry = Buffer.alloc(ENTRY, 0)
    entry[0] = piece | (index === 0 ? 0x40 : 0)
    entry[11] = ATTRIBUTE.longName
    entry[13] = sum
    LONG_CHARS.forEach((at, n) => {
      const position = (piece - 1) * size + n
      const code = position < name.length ? name.charCodeAt(position) : position === name.length ? 0 : 0xffff
      entry.writeUInt16LE(code, at)
    })
    return entry
  })
}
