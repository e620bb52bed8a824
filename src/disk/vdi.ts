/** Where the fields lie in a VDI file's header (VirtualBox, `VDICore.h`: version 1.1). */
const AT = { dataOffset: 0x158, blockBytes: 0x178, allocatedBlocks: 0x184 } as const

/** Where the file would have to end to have all blocks that its header counts. */
export function findVdiEnd(head: Buffer): number {
  if (head.length < 512) return 512
  return (
    head.readUInt32LE(AT.dataOffset) +
    head.readUInt32LE(AT.blockBytes) * head.readUInt32LE(AT.allocatedBlocks)
  )
}
