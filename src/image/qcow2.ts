import type { FileHandle } from 'node:fs/promises'

/** What a qcow2 file's header says, as far as it matters here (QEMU's docs/interop/qcow2.txt). */
export interface Qcow2Header {
  readonly clusterBits: number
  readonly l1Entries: number
  readonly l1Offset: number
  readonly encryption: 'none' | 'aes' | 'luks' | 'unknown'
  readonly hasExternalData: boolean
  readonly hasExtendedL2: boolean
  /** As it is written in the file. */
  readonly backingFile: string | undefined
}

const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n
const COMPRESSED = 1n << 62n
const INCOMPATIBLE_EXTERNAL_DATA = 1n << 2n
const INCOMPATIBLE_EXTENDED_L2 = 1n << 4n

const ENCRYPTIONS = ['none', 'aes', 'luks'] as const

/** Undefined when the header is cut off or makes no sense. */
export function parseQcow2Header(head: Buffer): Qcow2Header | undefined {
  if (head.length < 72) return undefined
  const version = head.readUInt32BE(4)
  if (version > 2 && head.length < 104) return undefined
  const features = version > 2 ? head.readBigUInt64BE(72) : 0n
  const clusterBits = head.readUInt32BE(20)
  if (version < 2 || version > 3 || clusterBits < 9 || clusterBits > 21) return undefined
  const backingOffset = Number(head.readBigUInt64BE(8))
  const backingBytes = head.readUInt32BE(16)
  if (backingOffset + backingBytes > head.length) return undefined
  return {
    clusterBits,
    l1Entries: head.readUInt32BE(36),
    l1Offset: Number(head.readBigUInt64BE(40)),
    encryption: ENCRYPTIONS[head.readUInt32BE(32)] ?? 'unknown',
    hasExternalData: (features & INCOMPATIBLE_EXTERNAL_DATA) !== 0n,
    hasExtendedL2: (features & INCOMPATIBLE_EXTENDED_L2) !== 0n,
    backingFile:
      backingOffset === 0 ? undefined : head.toString('utf8', backingOffset, backingOffset + backingBytes),
  }
}

/**
 * Where the file would have to end to have all that its tables point to: a file that is shorter was cut off,
 * and QEMU would read zeros there without a word.
 */
export async function findQcow2End(
  file: FileHandle,
  header: Qcow2Header,
  fileBytes: number,
): Promise<number> {
  const l1Bytes = header.l1Entries * 8
  let end = header.l1Offset + l1Bytes
  if (end > fileBytes) return end
  const clusterBytes = 2 ** header.clusterBits
  const table = await readExactly(file, header.l1Offset, l1Bytes)
  for (let at = 0; at < l1Bytes; at += 8) {
    const l2Offset = Number(table.readBigUInt64BE(at) & OFFSET_MASK)
    if (l2Offset === 0) continue
    end = Math.max(end, l2Offset + clusterBytes)
    if (end > fileBytes) return end
    if (!header.hasExternalData) {
      const l2 = await readExactly(file, l2Offset, clusterBytes)
      end = Math.max(end, findClustersEnd(l2, header))
    }
  }
  return end
}

/** The end of the last cluster; the last one of a file may be shorter, so it counts with one byte only. */
function findClustersEnd(l2: Buffer, header: Qcow2Header): number {
  const step = header.hasExtendedL2 ? 16 : 8
  // A compressed cluster's entry has the offset in fewer bits: those above are its size.
  const compressedMask = (1n << BigInt(62 - (header.clusterBits - 8))) - 1n
  let last = 0n
  for (let at = 0; at + step <= l2.length; at += step) {
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
