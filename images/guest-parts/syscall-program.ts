import { buildStaticElf, ELF_ADDRESS } from '../../src/common/static-elf.js'

/**
 * Programs that consist of a list of system calls, for the initrd. A shell would start a process
 * per module and mount, which costs milliseconds each under emulation. x86-64 only.
 */

/**
 * Argument of a call: a number, a NUL-terminated string, raw bytes, a list of strings, an offset in
 * the {@link BUFFER_BYTES buffer}, or the value of {@link KEPT} or {@link ENVIRONMENT}.
 */
export type SyscallArgument =
  | number
  | string
  | Uint8Array
  | { readonly strings: readonly string[] }
  | { readonly bufferAt: number }
  | typeof KEPT
  | typeof ENVIRONMENT

/** Result of the last call that was marked with `keep`. */
export const KEPT = Symbol('kept result')
/** Environment that the program itself was started with. */
export const ENVIRONMENT = Symbol('environment')

/** Size of the program's buffer, initially zeros. */
export const BUFFER_BYTES = 4096

export interface Syscall {
  readonly number: number
  readonly args: readonly SyscallArgument[]
  /** If true, the result becomes {@link KEPT}. */
  readonly keep?: boolean
  /** Message on the console if the call fails. The program then exits, and the kernel panics. */
  readonly failure?: string
  /** In repeated calls: restarts the sequence unless the result equals this value. */
  readonly expected?: number
}

const SYS_WRITE = 1
const SYS_EXIT = 60

/** `mov REG, imm64` for the six argument registers rdi, rsi, rdx, r10, r8, r9. */
const LOAD_ARGUMENT = [
  [0x48, 0xbf],
  [0x48, 0xbe],
  [0x48, 0xba],
  [0x49, 0xba],
  [0x49, 0xb8],
  [0x49, 0xb9],
] as const
/** `mov REG, r12` for the same registers: r12 contains the kept result. */
const LOAD_KEPT = [
  [0x4c, 0x89, 0xe7],
  [0x4c, 0x89, 0xe6],
  [0x4c, 0x89, 0xe2],
  [0x4d, 0x89, 0xe2],
  [0x4d, 0x89, 0xe0],
  [0x4d, 0x89, 0xe1],
] as const
/** `mov REG, r13` for the same registers: r13 contains the environment. */
const LOAD_ENVIRONMENT = [
  [0x4c, 0x89, 0xef],
  [0x4c, 0x89, 0xee],
  [0x4c, 0x89, 0xea],
  [0x4d, 0x89, 0xea],
  [0x4d, 0x89, 0xe8],
  [0x4d, 0x89, 0xe9],
] as const
/**
 * `mov rax, [rsp]; lea r13, [rsp + rax * 8 + 16]`: the stack has argc, the arguments, a null, the
 * environment.
 */
const PROLOGUE = [0x48, 0x8b, 0x04, 0x24, 0x4c, 0x8d, 0x6c, 0xc4, 0x10] as const

/**
 * Assembles a static ELF program that runs the calls of `once` in order, then repeats those of
 * `repeated` forever. Without repeated calls it exits with 1.
 */
export function assembleSyscallProgram(once: readonly Syscall[], repeated: readonly Syscall[] = []): Buffer {
  // Addresses do not change the length of the code, so a first pass measures it.
  const codeBytes = assemble(once, repeated, createData(0)).length
  const data = createData(ELF_ADDRESS.code + codeBytes)
  const code = assemble(once, repeated, data)
  const program = Buffer.concat([code, data.bytes()])
  return buildStaticElf({ code: program, memoryBytes: BUFFER_BYTES, isWritable: true })
}

interface Data {
  store(value: string | Uint8Array | { readonly strings: readonly string[] }): number
  bytes(): Buffer
}

function createData(base: number): Data {
  const parts: Buffer[] = []
  let length = 0
  const append = (bytes: Buffer): number => {
    const at = base + length
    const padded = Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)])
    parts.push(padded)
    length += padded.length
    return at
  }
  const store: Data['store'] = (value) => {
    if (typeof value === 'string') return append(Buffer.from(`${value}\0`))
    if (value instanceof Uint8Array) return append(Buffer.from(value))
    const pointers = Buffer.alloc(8 * (value.strings.length + 1))
    for (const [index, text] of value.strings.entries()) {
      pointers.writeBigUInt64LE(BigInt(append(Buffer.from(`${text}\0`))), index * 8)
    }
    return append(pointers)
  }
  return { store, bytes: () => Buffer.concat(parts) }
}

function assemble(once: readonly Syscall[], repeated: readonly Syscall[], data: Data): Buffer {
  const first = Buffer.concat([Buffer.from(PROLOGUE), ...once.map((call) => assembleCall(call, data))])
  if (repeated.length === 0)
    return Buffer.concat([first, assembleCall({ number: SYS_EXIT, args: [1] }, data)])
  let code = first
  for (const call of repeated) {
    code = Buffer.concat([code, assembleCall(call, data)])
    if (call.expected === undefined) continue
    const compare = Buffer.from([0x3d, 0, 0, 0, 0]) // cmp eax, imm32
    compare.writeInt32LE(call.expected, 1)
    code = Buffer.concat([code, compare])
    code = Buffer.concat([code, jumpTo(first.length, code.length, [0x0f, 0x85])]) // jne rel32
  }
  return Buffer.concat([code, jumpTo(first.length, code.length, [0xe9])]) // jmp rel32
}

/** Assembles a jump at `from`; its distance is relative to its end. */
function jumpTo(target: number, from: number, opcode: readonly number[]): Buffer {
  const distance = Buffer.alloc(4)
  distance.writeInt32LE(target - (from + opcode.length + 4))
  return Buffer.concat([Buffer.from(opcode), distance])
}

function assembleCall(call: Syscall, data: Data): Buffer {
  const parts = call.args.map((argument, index) => {
    if (argument === KEPT) return Buffer.from(LOAD_KEPT[index] ?? [])
    if (argument === ENVIRONMENT) return Buffer.from(LOAD_ENVIRONMENT[index] ?? [])
    const value = Buffer.alloc(8)
    value.writeBigInt64LE(BigInt(resolveArgument(argument, data)))
    return Buffer.concat([Buffer.from(LOAD_ARGUMENT[index] ?? []), value])
  })
  const number = Buffer.alloc(4)
  number.writeUInt32LE(call.number)
  // mov eax, imm32; syscall
  parts.push(Buffer.from([0xb8]), number, Buffer.from([0x0f, 0x05]))
  if (call.keep) parts.push(Buffer.from([0x49, 0x89, 0xc4])) // mov r12, rax
  if (call.failure !== undefined) {
    const message = Buffer.from(`${call.failure}\n`)
    const report = Buffer.concat([
      assembleCall({ number: SYS_WRITE, args: [2, message, message.length] }, data),
      assembleCall({ number: SYS_EXIT, args: [1] }, data),
    ])
    // test rax, rax; jns over the report
    parts.push(Buffer.from([0x48, 0x85, 0xc0, 0x79, report.length]), report)
  }
  return Buffer.concat(parts)
}

function resolveArgument(argument: Exclude<SyscallArgument, symbol>, data: Data): number {
  if (typeof argument === 'number') return argument
  return typeof argument === 'object' && 'bufferAt' in argument
    ? ELF_ADDRESS.memory + argument.bufferAt
    : data.store(argument)
}
