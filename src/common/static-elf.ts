const HEADER_BYTES = 64 + 2 * 56
const BASE = 0x400000

/**
 * Parts of an x86-64 Linux program: its code followed by constants, and memory that is zero at the
 * start.
 */
export interface StaticElf {
  readonly code: Buffer
  readonly memoryBytes: number
  /** If true, the program can write to its code and execute its memory. @default false */
  readonly isWritable?: boolean
}

/** Addresses at which the code and the memory of a program start. */
export const ELF_ADDRESS = { code: BASE + HEADER_BYTES, memory: 0x800000 } as const

/**
 * Builds a static ELF program for x86-64 (System V ABI, chapters 4 and 5). Execution starts at the
 * first byte of code.
 */
export function buildStaticElf({ code, memoryBytes, isWritable = false }: StaticElf): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  const fileBytes = HEADER_BYTES + code.length
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  header.writeUInt16LE(2, 0x10) // ET_EXEC
  header.writeUInt16LE(62, 0x12) // EM_X86_64
  header.writeUInt32LE(1, 0x14)
  header.writeBigUInt64LE(BigInt(ELF_ADDRESS.code), 0x18) // entry
  header.writeBigUInt64LE(64n, 0x20) // program headers
  header.writeUInt16LE(64, 0x34)
  header.writeUInt16LE(56, 0x36)
  header.writeUInt16LE(2, 0x38)
  const flags = isWritable ? { code: RWX, memory: RWX } : { code: RX, memory: RW }
  header.set(loadSegment({ address: BASE, fileBytes, memoryBytes: fileBytes, flags: flags.code }), 64)
  const memory = { address: ELF_ADDRESS.memory, fileBytes: 0, memoryBytes, flags: flags.memory }
  header.set(loadSegment(memory), 120)
  return Buffer.concat([header, code])
}

/** Segment flags: PF_X 1, PF_W 2, PF_R 4. */
const RX = 5
const RW = 6
const RWX = 7

function loadSegment(segment: {
  readonly address: number
  readonly fileBytes: number
  readonly memoryBytes: number
  readonly flags: number
}): Buffer {
  const entry = Buffer.alloc(56)
  entry.writeUInt32LE(1, 0) // PT_LOAD
  entry.writeUInt32LE(segment.flags, 4)
  entry.writeBigUInt64LE(BigInt(segment.address), 16)
  entry.writeBigUInt64LE(BigInt(segment.address), 24)
  entry.writeBigUInt64LE(BigInt(segment.fileBytes), 32)
  entry.writeBigUInt64LE(BigInt(segment.memoryBytes), 40)
  entry.writeBigUInt64LE(0x1000n, 48)
  return entry
}
