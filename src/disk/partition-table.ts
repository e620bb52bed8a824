const SECTOR_BYTES = 512
const GPT_PROTECTIVE = 0xee

/**
 * Returns the minimum size of a raw disk according to its partition table, 0 without one: a smaller
 * disk is truncated. `head` contains at least the first two sectors.
 */
export function findPartitionsEnd(head: Buffer): number {
  if (head.length < 2 * SECTOR_BYTES || head.readUInt16LE(510) !== 0xaa55) return 0
  if (head.toString('latin1', 512, 520) === 'EFI PART') {
    // Last block that partitions may use. The backup table follows it.
    return (Number(head.readBigUInt64LE(512 + 48)) + 1) * SECTOR_BYTES
  }
  const entries = [0, 1, 2, 3].map((index) => 446 + index * 16)
  // A boot sector of a file system contains code here: entries count only if all look valid.
  if (!entries.every((at) => head[at] === 0 || head[at] === 0x80)) return 0
  return entries.reduce((end, at) => {
    const type = head[at + 4]
    if (type === 0 || type === GPT_PROTECTIVE) return end
    return Math.max(end, (head.readUInt32LE(at + 8) + head.readUInt32LE(at + 12)) * SECTOR_BYTES)
  }, 0)
}
