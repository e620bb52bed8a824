import type { FileHandle } from 'node:fs/promises'

/** Fields of a sparse extent's header (VMware, Virtual Disk Format 5.0). */
const AT = { capacity: 0x0c, descriptorSector: 0x1c } as const
const SECTOR_BYTES = 512
const SPARSE_MARK = 'KDMV'
/** More than QEMU reads of a descriptor. */
const MOST_DESCRIPTOR_BYTES = 2 * 1024 ** 2
/** As QEMU reads extents (block/vmdk.c, `vmdk_parse_extents`): of a longer name it takes that much. */
const EXTENT = /^[ \t]*RW[ \t][^"\r\n]*"([^"\r\n]{1,511})/gm

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
