import type { GuestArch } from '../../spec/architectures.js'
import type { MACHINE_CODE } from './machine-code.js'

/** Architectures for which the identity agent exists. */
export type AgentArch = keyof typeof MACHINE_CODE

/** System calls that messages use. */
export type CallName =
  | 'read'
  | 'write'
  | 'close'
  | 'ioctl'
  | 'nanosleep'
  | 'socket'
  | 'sethostname'
  | 'clock_settime'
  | 'clock_gettime'
  | 'kill'
  | 'sync'
  | 'openat'
  | 'dup3'

/** Binary interface of Linux on one architecture. */
export interface AgentTarget {
  readonly wordBytes: 4 | 8
  readonly isBigEndian: boolean
  /** `e_machine` and `e_flags` of an ELF program. */
  readonly elf: { readonly machine: number; readonly flags: number }
  readonly calls: Readonly<Record<CallName, number>>
  /** Direction bits of an ioctl number, which differ on PowerPC (asm/ioctl.h). */
  readonly ioctlDirection: { readonly none: number; readonly write: number }
}

/** Numbers of the generic table (include/uapi/asm-generic/unistd.h). */
const GENERIC_CALLS: AgentTarget['calls'] = {
  read: 63,
  write: 64,
  close: 57,
  ioctl: 29,
  nanosleep: 101,
  socket: 198,
  sethostname: 161,
  clock_settime: 112,
  clock_gettime: 113,
  kill: 129,
  sync: 81,
  openat: 56,
  dup3: 24,
}

/** Numbers that i386, ARM, PowerPC and s390 have in common (`syscall.tbl` of each). */
const EARLY_CALLS = {
  read: 3,
  write: 4,
  close: 6,
  sync: 36,
  kill: 37,
  ioctl: 54,
  sethostname: 74,
  nanosleep: 162,
} as const
/** `clock_gettime64` and `clock_settime64` of a 32-bit kernel, whose argument has 64-bit fields. */
const CLOCK64 = { clock_gettime: 403, clock_settime: 404 } as const

const COMMON_DIRECTION = { none: 0, write: 1 << 30 } as const
const LITTLE_64 = { wordBytes: 8, isBigEndian: false, ioctlDirection: COMMON_DIRECTION } as const
const LITTLE_32 = { wordBytes: 4, isBigEndian: false, ioctlDirection: COMMON_DIRECTION } as const

/** Targets by architecture. Values of `elf` are from the Linux headers `elf-em.h` and `elf.h`. */
export const AGENT_TARGETS: Readonly<Record<AgentArch, AgentTarget>> = {
  x86_64: {
    ...LITTLE_64,
    elf: { machine: 62, flags: 0 },
    calls: {
      read: 0,
      write: 1,
      close: 3,
      ioctl: 16,
      nanosleep: 35,
      socket: 41,
      kill: 62,
      sync: 162,
      sethostname: 170,
      clock_settime: 227,
      clock_gettime: 228,
      openat: 257,
      dup3: 292,
    },
  },
  i386: {
    ...LITTLE_32,
    elf: { machine: 3, flags: 0 },
    calls: { ...EARLY_CALLS, ...CLOCK64, socket: 359, openat: 295, dup3: 330 },
  },
  aarch64: { ...LITTLE_64, elf: { machine: 183, flags: 0 }, calls: GENERIC_CALLS },
  arm: {
    ...LITTLE_32,
    elf: { machine: 40, flags: 0x05000400 },
    calls: { ...EARLY_CALLS, ...CLOCK64, socket: 281, openat: 322, dup3: 358 },
  },
  riscv64: { ...LITTLE_64, elf: { machine: 243, flags: 4 }, calls: GENERIC_CALLS },
  ppc64: {
    ...LITTLE_64,
    elf: { machine: 21, flags: 2 },
    calls: { ...EARLY_CALLS, socket: 326, clock_settime: 245, clock_gettime: 246, openat: 286, dup3: 316 },
    ioctlDirection: { none: 1 << 29, write: -(2 ** 31) },
  },
  s390x: {
    wordBytes: 8,
    isBigEndian: true,
    ioctlDirection: COMMON_DIRECTION,
    elf: { machine: 22, flags: 0 },
    calls: { ...EARLY_CALLS, socket: 359, clock_settime: 259, clock_gettime: 260, openat: 288, dup3: 326 },
  },
}

/** Returns the architecture as one of the identity agent; undefined if there is no agent for it. */
export function findAgentArch(arch: GuestArch): AgentArch | undefined {
  return arch in AGENT_TARGETS ? (arch as AgentArch) : undefined
}

/** Writes integers in the byte order of a target. */
export class TargetWriter {
  readonly #bytes: Buffer
  readonly #target: AgentTarget

  constructor(bytes: Buffer, target: AgentTarget) {
    this.#bytes = bytes
    this.#target = target
  }

  uint16(value: number, at: number): void {
    if (this.#target.isBigEndian) this.#bytes.writeUInt16BE(value, at)
    else this.#bytes.writeUInt16LE(value, at)
  }

  int32(value: number, at: number): void {
    if (this.#target.isBigEndian) this.#bytes.writeInt32BE(value | 0, at)
    else this.#bytes.writeInt32LE(value | 0, at)
  }

  int64(value: number, at: number): void {
    if (this.#target.isBigEndian) this.#bytes.writeBigInt64BE(BigInt(value), at)
    else this.#bytes.writeBigInt64LE(BigInt(value), at)
  }

  word(value: number, at: number): void {
    if (this.#target.wordBytes === 8) this.int64(value, at)
    else this.int32(value, at)
  }
}
