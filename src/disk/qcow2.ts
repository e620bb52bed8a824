import type { Stats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { GIB, MIB } from '../common/units.js'

/** Fields of a qcow2 header that are used here (QEMU's docs/interop/qcow2.txt). */
export interface Qcow2Header {
  readonly virtualBytes: number
  readonly clusterBits: number
  readonly l1Entries: number
  readonly l1Offset: number
  readonly encryption: 'none' | 'aes' | 'luks' | 'unknown'
  /** Bits of {@link INCOMPATIBLE} and unknown bits. */
  readonly incompatibleFeatures: bigint
  readonly hasExternalData: boolean
  readonly hasExtendedL2: boolean
  /** Name of the backing file as stored in the header. */
  readonly backingFile: string | undefined
  readonly backingFormat: string | undefined
  /** Name of the external data file as stored in the header. */
  readonly dataFile: string | undefined
}

/** Incompatible feature bits: a file cannot be opened without support for them. */
export const INCOMPATIBLE = { dirty: 1n << 0n, externalData: 1n << 2n, extendedL2: 1n << 4n } as const

const MAGIC = 0x514649fb
const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n
const COMPRESSED = 1n << 62n
const ENCRYPTIONS = ['none', 'aes', 'luks'] as const
/** Types of the header extensions. */
const EXTENSION = { end: 0, backingFormat: 0xe2792aca, dataFile: 0x44415441 } as const
/** QEMU's limit for the L1 table (qcow2.h: QCOW_MAX_L1_SIZE). */
const MAX_L1_BYTES = 32 * MIB

/** Parses the header of a qcow2 file. Returns undefined if it is truncated or invalid. */
export function parseQcow2Header(head: Buffer): Qcow2Header | undefined {
  if (head.length < 72 || head.readUInt32BE(0) !== MAGIC) return undefined
  const version = head.readUInt32BE(4)
  if (version > 2 && head.length < 104) return undefined
  const features = version > 2 ? head.readBigUInt64BE(72) : 0n
  const clusterBits = head.readUInt32BE(20)
  if (version < 2 || version > 3 || clusterBits < 9 || clusterBits > 21) return undefined
  const backingOffset = Number(head.readBigUInt64BE(8))
  const backingBytes = head.readUInt32BE(16)
  if (backingOffset + backingBytes > head.length) return undefined
  const l1Entries = head.readUInt32BE(36)
  if (l1Entries * 8 > MAX_L1_BYTES) return undefined
  const start = version > 2 ? head.readUInt32BE(100) : 72
  const extensions = readExtensions(head, start, backingOffset || 2 ** clusterBits)
  if (extensions === undefined) return undefined
  return {
    virtualBytes: Number(head.readBigUInt64BE(24)),
    clusterBits,
    l1Entries,
    l1Offset: Number(head.readBigUInt64BE(40)),
    encryption: ENCRYPTIONS[head.readUInt32BE(32)] ?? 'unknown',
    incompatibleFeatures: features,
    hasExternalData: (features & INCOMPATIBLE.externalData) !== 0n,
    hasExtendedL2: (features & INCOMPATIBLE.extendedL2) !== 0n,
    backingFile:
      backingOffset === 0 ? undefined : head.toString('utf8', backingOffset, backingOffset + backingBytes),
    backingFormat: extensions.get(EXTENSION.backingFormat),
    dataFile: extensions.get(EXTENSION.dataFile),
  }
}

/**
 * Returns the header extensions by type. Each has a type, a length and data that is padded to 8
 * bytes. QEMU reads them up to an end mark or to `limit`. Returns undefined if `head` does not
 * contain all of them, or if `start` is not a multiple of 8, which QEMU accepts: the checked data
 * file must be the one that QEMU opens.
 */
function readExtensions(head: Buffer, start: number, limit: number): Map<number, string> | undefined {
  const found = new Map<number, string>()
  if (start % 8 !== 0) return undefined
  for (let at = start; at < limit; ) {
    if (at + 8 > head.length) return undefined
    const type = head.readUInt32BE(at)
    const end = at + 8 + head.readUInt32BE(at + 4)
    if (type === EXTENSION.end) return found
    if (end > Math.min(limit, head.length)) return undefined
    found.set(type, head.toString('utf8', at + 8, end))
    at = Math.ceil(end / 8) * 8
  }
  return found
}

/** Result of a check: the minimum size of the file, or a problem with its tables. */
export type Qcow2Check = { readonly end: number } | { readonly problem: string }

/** Page of zeros, as in holes of a sparse file. Such pages are skipped. */
const PAGE = Buffer.alloc(4096)
/** Maximum total size of L2 tables that lie in holes of the file, as they can in a sparse copy. */
const MAX_HOLE_BYTES = GIB

/**
 * Determines the minimum size of a qcow2 file from its tables: QEMU reads zeros from a truncated
 * file without an error. The work is bounded by the file size: tables must be aligned to clusters,
 * and each is read once.
 */
export async function checkQcow2Tables(
  file: FileHandle,
  header: Qcow2Header,
  { size: fileBytes, blocks }: Pick<Stats, 'size' | 'blocks'>,
  signal?: AbortSignal,
): Promise<Qcow2Check> {
  const l1Bytes = header.l1Entries * 8
  let end = header.l1Offset + l1Bytes
  const clusterBytes = 2 ** header.clusterBits
  if (header.l1Offset % clusterBytes !== 0) return { problem: 'an L1 table that is not aligned to clusters' }
  if (end > fileBytes) return { end }
  const table = await readExactly(file, header.l1Offset, l1Bytes)
  const l2Offsets = [...listL2Offsets(table)]
  if (l2Offsets.some((offset) => offset % clusterBytes !== 0))
    return { problem: 'an L2 table that is not aligned to clusters' }
  const lastL2 = l2Offsets.at(-1)
  if (lastL2 !== undefined) end = Math.max(end, lastL2 + clusterBytes)
  if (end > fileBytes) return { end }
  if (l2Offsets.length * clusterBytes > blocks * 512 + MAX_HOLE_BYTES)
    return { problem: 'L2 tables without content' }
  for (const l2Offset of l2Offsets) {
    signal?.throwIfAborted()
    if (!header.hasExternalData) {
      const l2 = await readExactly(file, l2Offset, clusterBytes)
      end = Math.max(end, findClustersEnd(l2, header))
    }
  }
  return { end }
}

/**
 * Yields the offset of each L2 table once, in ascending order: a crafted L1 table can point to the
 * same table a million times.
 */
function* listL2Offsets(table: Buffer): Generator<number> {
  const offsets = new Float64Array(table.length / 8)
  for (const index of offsets.keys()) offsets[index] = Number(table.readBigUInt64BE(index * 8) & OFFSET_MASK)
  offsets.sort()
  let last = 0
  for (const offset of offsets) {
    if (offset !== last) yield offset
    last = offset
  }
}

/**
 * Returns the end of the last cluster. The last cluster of a file may be shorter, so only its first
 * byte counts.
 */
function findClustersEnd(l2: Buffer, header: Qcow2Header): number {
  const step = header.hasExtendedL2 ? 16 : 8
  // The entry of a compressed cluster stores the offset in fewer bits; the upper bits contain its
  // size.
  const compressedMask = (1n << BigInt(62 - (header.clusterBits - 8))) - 1n
  let last = 0n
  for (let at = 0; at + step <= l2.length; at += step) {
    const isPage = at % PAGE.length === 0 && at + PAGE.length <= l2.length
    if (isPage && l2.compare(PAGE, 0, PAGE.length, at, at + PAGE.length) === 0) {
      at += PAGE.length - step
      continue
    }
    const entry = l2.readBigUInt64BE(at)
    if (entry === 0n) continue
    const offset = (entry & COMPRESSED) !== 0n ? entry & compressedMask : entry & OFFSET_MASK
    if (offset > last) last = offset
  }
  return last === 0n ? 0 : Number(last) + 1
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  await file.read(buffer, 0, length, position)
  return buffer
}
