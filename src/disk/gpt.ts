import { randomUUID } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** Partition types (UEFI specification, 5.3.3; Discoverable Partitions Specification). */
export const PARTITION_TYPES = {
  biosBoot: '21686148-6449-6e6f-744e-656564454649',
  efiSystem: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
  linuxRootX64: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
} as const

export interface Partition {
  /** Partition number, 1 to 128. */
  readonly number: number
  readonly type: string
  readonly label: string
  readonly firstSector: number
  readonly lastSector: number
}

export const SECTOR_BYTES = 512
const ENTRY_BYTES = 128
const ENTRIES = 128
const TABLE_SECTORS = (ENTRY_BYTES * ENTRIES) / SECTOR_BYTES
/** Number of sectors used by the table at the beginning of a disk; one less at its end. */
export const GPT_SECTORS = 2 + TABLE_SECTORS

/** GUID partition table, as written to the beginning and the end of a disk. */
export interface PartitionTable {
  /** First sectors, including the protective boot record. */
  readonly head: Buffer
  /** Last sectors, with the backup table. */
  readonly tail: Buffer
}

/** Builds the partition table of a disk of that many sectors. */
export function buildGpt(sectors: number, partitions: readonly Partition[]): PartitionTable {
  const table = Buffer.alloc(ENTRY_BYTES * ENTRIES)
  for (const partition of partitions) writeEntry(table, partition)
  const diskId = encodeGuid(randomUUID())
  const last = sectors - 1
  const common = { diskId, table, sectors }
  const first = buildHeader({ ...common, own: 1, other: last, tableAt: 2 })
  const backup = buildHeader({ ...common, own: last, other: 1, tableAt: last - TABLE_SECTORS })
  return {
    head: Buffer.concat([buildProtectiveRecord(sectors), first, table]),
    tail: Buffer.concat([table, backup]),
  }
}

function writeEntry(table: Buffer, { number, type, label, firstSector, lastSector }: Partition): void {
  const at = (number - 1) * ENTRY_BYTES
  table.set(encodeGuid(type), at)
  table.set(encodeGuid(randomUUID()), at + 16)
  table.writeBigUInt64LE(BigInt(firstSector), at + 32)
  table.writeBigUInt64LE(BigInt(lastSector), at + 40)
  table.write(label.slice(0, 36), at + 56, 'utf16le')
}

function buildHeader(header: {
  readonly diskId: Buffer
  readonly table: Buffer
  readonly sectors: number
  readonly own: number
  readonly other: number
  readonly tableAt: number
}): Buffer {
  const sector = Buffer.alloc(SECTOR_BYTES)
  sector.write('EFI PART')
  sector.writeUInt32LE(0x0001_0000, 8)
  sector.writeUInt32LE(92, 12)
  sector.writeBigUInt64LE(BigInt(header.own), 24)
  sector.writeBigUInt64LE(BigInt(header.other), 32)
  sector.writeBigUInt64LE(BigInt(GPT_SECTORS), 40)
  sector.writeBigUInt64LE(BigInt(header.sectors - GPT_SECTORS), 48)
  sector.set(header.diskId, 56)
  sector.writeBigUInt64LE(BigInt(header.tableAt), 72)
  sector.writeUInt32LE(ENTRIES, 80)
  sector.writeUInt32LE(ENTRY_BYTES, 84)
  sector.writeUInt32LE(crc32(header.table), 88)
  sector.writeUInt32LE(crc32(sector.subarray(0, 92)), 16)
  return sector
}

/**
 * Builds the protective MBR: its only partition covers the disk, with a type that old programs
 * ignore.
 */
function buildProtectiveRecord(sectors: number): Buffer {
  const sector = Buffer.alloc(SECTOR_BYTES)
  sector.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff], 446)
  sector.writeUInt32LE(1, 454)
  sector.writeUInt32LE(Math.min(sectors - 1, 0xffff_ffff), 458)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}

/** Encodes a GUID: its first three parts are little-endian. */
function encodeGuid(guid: string): Buffer {
  const bytes = Buffer.from(guid.replaceAll('-', ''), 'hex')
  bytes.subarray(0, 4).reverse()
  bytes.subarray(4, 6).reverse()
  bytes.subarray(6, 8).reverse()
  return bytes
}
