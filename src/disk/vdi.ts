/** Offsets of fields in a VDI header (VirtualBox, `VDICore.h`: version 1.1). */
const AT = { dataOffset: 0x158, blockBytes: 0x178, allocatedBlocks: 0x184 } as const

/** Returns the minimum size of a VDI file that contains all blocks counted in its header. */
export function findVdiEnd(head: Buffer): number {
  if (head.length < 512) return 512
  return (
    head.readUInt32LE(AT.dataOffset) +
    head.readUInt32LE(AT.blockBytes) * head.readUInt32LE(AT.allocatedBlocks)
  )
}
