import type { FileHandle } from 'node:fs/promises'

/** Fields of a sparse extent's header (VMware, Virtual Disk Format 5.0). */
const AT = { capacity: 0x0c, descriptorSector: 0x1c } as const
const SECTOR_BYTES = 512
const SPARSE_MARK = 'KDMV'
/** More than QEMU reads of a descriptor. */
const MOST_DESCRIPTOR_BYTES = 2 * 1024 ** 2
/**
 * As QEMU reads extents by sscanf (block/vmdk.c, `vmdk_parse_extents`): any white space, line ends included, may stand between the
 * fields, and of a longer name it takes that much. It opens only the files of extents with `RW`.
 */
const EXTENT = /(?:RW|RDONLY|NOACCESS)\s+[-+]?\d+\s*[^\s\d"][^\s"]*\s*"([^"\r\n]{1,511})/g

/** The files that a VMDK image says it has its content in, before anything opens them. */
export async function readVmdkExtents(file: FileHandle, head: Buffer, fileBytes: number): Promise<string[]> {
  const isSparse = head.toString('latin1', 0, SPARSE_MARK.length) === SPARSE_MARK
  if (isSparse && head.length < SECTOR_BYTES) return []
  // QEMU reads the descriptor in a sparse extent only where the extent itself has no capacity.
  if (isSparse && head.readBigUInt64LE(AT.capacity) !== 0n) return []
  const start = isSparse ? Number(head.readBigUInt64LE(AT.descriptorSector)) * SECTOR_BYTES : 0
  const bytes = Math.max(0, Math.min(MOST_DESCRIPTOR_BYTES, fileBytes - start))
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, start)
  const text = buffer.toString('latin1', 0, bytesRead)
  return [...text.matchAll(EXTENT)].flatMap(([, name]) => (name === undefined ? [] : [name]))
}
