/** Processor and byte order of an ELF program. */
export interface ElfTarget {
  readonly wordBytes: 4 | 8
  readonly isBigEndian: boolean
  /** `e_machine` and `e_flags`. */
  readonly elf: { readonly machine: number; readonly flags: number }
}

/** Part of a program's memory, filled from the file and then with zeros. */
export interface ElfSegment {
  readonly address: number
  /** Offset in the file. The first segment begins with the header of the file, at 0. */
  readonly offset: number
  readonly fileBytes: number
  readonly memoryBytes: number
  readonly access: keyof typeof ACCESS
}

/** Segment flags: PF_X 1, PF_W 2, PF_R 4. */
const ACCESS = { rx: 5, rw: 6, rwx: 7 } as const
const SEGMENTS = 2

/** Returns the size of the header of a file with two segments. */
export function elfHeaderBytes({ wordBytes }: Pick<ElfTarget, 'wordBytes'>): number {
  return wordBytes === 8 ? 64 + SEGMENTS * 56 : 52 + SEGMENTS * 32
}

/**
 * Builds the header of a static ELF program with two segments (System V ABI, chapters 4 and 5).
 * @param options.alignment the largest page size of the processor.
 */
export function buildElfHeader(
  target: ElfTarget,
  options: {
    readonly entry: number
    readonly segments: readonly [ElfSegment, ElfSegment]
    readonly alignment: number
  },
): Buffer {
  const { wordBytes, isBigEndian, elf } = target
  const is64 = wordBytes === 8
  const fields: Buffer[] = []
  const add = (bytes: number, value: number) => {
    const field = Buffer.alloc(8)
    if (isBigEndian) field.writeBigUInt64BE(BigInt(value))
    else field.writeBigUInt64LE(BigInt(value))
    fields.push(isBigEndian ? field.subarray(8 - bytes) : field.subarray(0, bytes))
  }
  const addAll = (bytes: number, ...values: number[]) => {
    for (const value of values) add(bytes, value)
  }
  fields.push(Buffer.from([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, isBigEndian ? 2 : 1, 1]), Buffer.alloc(9))
  addAll(2, 2, elf.machine) // ET_EXEC
  add(4, 1)
  addAll(wordBytes, options.entry, is64 ? 64 : 52, 0)
  add(4, elf.flags)
  addAll(2, is64 ? 64 : 52, is64 ? 56 : 32, SEGMENTS, 0, 0, 0)
  for (const { access, offset, address, fileBytes, memoryBytes } of options.segments) {
    add(4, 1) // PT_LOAD
    if (is64) add(4, ACCESS[access])
    addAll(wordBytes, offset, address, address, fileBytes, memoryBytes)
    if (!is64) add(4, ACCESS[access])
    add(wordBytes, options.alignment)
  }
  return Buffer.concat(fields)
}

const X86_64: ElfTarget = { wordBytes: 8, isBigEndian: false, elf: { machine: 62, flags: 0 } }
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
export const ELF_ADDRESS = { code: BASE + elfHeaderBytes(X86_64), memory: 0x800000 } as const

/** Builds a static ELF program for x86-64. Execution starts at the first byte of code. */
export function buildStaticElf({ code, memoryBytes, isWritable = false }: StaticElf): Buffer {
  const fileBytes = elfHeaderBytes(X86_64) + code.length
  const access = isWritable
    ? ({ code: 'rwx', memory: 'rwx' } as const)
    : ({ code: 'rx', memory: 'rw' } as const)
  const header = buildElfHeader(X86_64, {
    entry: ELF_ADDRESS.code,
    segments: [
      { address: BASE, offset: 0, fileBytes, memoryBytes: fileBytes, access: access.code },
      { address: ELF_ADDRESS.memory, offset: 0, fileBytes: 0, memoryBytes, access: access.memory },
    ],
    alignment: 0x1000,
  })
  return Buffer.concat([header, code])
}
