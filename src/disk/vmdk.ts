import type { FileHandle } from 'node:fs/promises'
import { MIB } from '../common/units.js'

/** Offsets of fields in the header of a sparse extent (VMware, Virtual Disk Format 5.0). */
const AT = { capacity: 0x0c, descriptorSector: 0x1c } as const
const SECTOR_BYTES = 512
const SPARSE_MARK = 'KDMV'
/** Maximum size of a descriptor that is read: more than QEMU reads. */
const MAX_DESCRIPTOR_BYTES = 2 * MIB
/**
 * Matches extents as QEMU does with sscanf (block/vmdk.c, `vmdk_parse_extents`): fields are
 * separated by any white space including line ends, and longer names are truncated. QEMU opens only
 * the files of `RW` extents.
 */
const EXTENT = /(?:RW|RDONLY|NOACCESS)\s+[-+]?\d+\s*[^\s\d"][^\s"]*\s*"([^"\r\n]{1,511})/g

/** Returns the names of the extent files of a VMDK image, before anything opens them. */
export async function readVmdkExtents(file: FileHandle, head: Buffer, fileBytes: number): Promise<string[]> {
  const isSparse = head.toString('latin1', 0, SPARSE_MARK.length) === SPARSE_MARK
  if (isSparse && head.length < SECTOR_BYTES) return []
  // QEMU reads the descriptor in a sparse extent only if the extent's own capacity is 0.
  if (isSparse && head.readBigUInt64LE(AT.capacity) !== 0n) return []
  const start = isSparse ? Number(head.readBigUInt64LE(AT.descriptorSector)) * SECTOR_BYTES : 0
  const bytes = Math.max(0, Math.min(MAX_DESCRIPTOR_BYTES, fileBytes - start))
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, start)
  const text = buffer.toString('latin1', 0, bytesRead)
  return [...text.matchAll(EXTENT)].flatMap(([, name]) => (name === undefined ? [] : [name]))
}
