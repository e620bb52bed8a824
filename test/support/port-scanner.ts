import { isIPv4 } from 'node:net'

/** Address of the program in memory, and offset of the code in it. */
const ORIGIN = 0x40_0000
const CODE_AT = 64 + 56

export interface PortScan {
  readonly address: string
  readonly first: number
  readonly last: number
}

/**
 * Builds a Linux program for x86_64 that connects to each TCP port of an address in turn and writes the numbers of open
 * ports as 16-bit words. In a guest under TCG it scans about a thousand ports per second; a shell would start a process
 * for each port.
 */
export function buildPortScanner({ address, first, last }: PortScan): Buffer {
  if (!isIPv4(address)) throw new Error(`${address} is no IPv4 address`)
  const word = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255)
  // One instruction, or one call, a line.
  const code = [
    [0x48, 0x83, 0xec, 0x20], // sub rsp, 32
    [0xbb, ...word(first)], // mov ebx, first
    // next:
    [0x6a, 0x29, 0x58, 0x6a, 0x02, 0x5f, 0x6a, 0x01, 0x5e, 0x31, 0xd2, 0x0f, 0x05], // socket(AF_INET, SOCK_STREAM, 0)
    [0x41, 0x89, 0xc4], // mov r12d, eax
    [0x89, 0xd8, 0x86, 0xe0, 0xc1, 0xe0, 0x10, 0xb0, 0x02], // mov eax, ebx; xchg al, ah; shl eax, 16; mov al, AF_INET
    [0x89, 0x04, 0x24], // mov [rsp], eax
    [0xc7, 0x44, 0x24, 0x04, ...address.split('.').map(Number)], // mov dword [rsp + 4], address
    [0x6a, 0x2a, 0x58, 0x44, 0x89, 0xe7, 0x48, 0x89, 0xe6, 0x6a, 0x10, 0x5a, 0x0f, 0x05], // connect(r12, rsp, 16)
    [0x85, 0xc0, 0x75, 0x13], // test eax, eax; jnz close
    [0x89, 0x5c, 0x24, 0x10], // mov [rsp + 16], ebx
    [0x6a, 0x01, 0x58, 0x89, 0xc7, 0x48, 0x8d, 0x74, 0x24, 0x10, 0x6a, 0x02, 0x5a, 0x0f, 0x05], // write(1, rsp + 16, 2)
    // close:
    [0x6a, 0x03, 0x58, 0x44, 0x89, 0xe7, 0x0f, 0x05], // close(r12)
    [0xff, 0xc3, 0x81, 0xfb, ...word(last), 0x76, 0xa5], // inc ebx; cmp ebx, last; jbe next
    [0x6a, 0x3c, 0x58, 0x31, 0xff, 0x0f, 0x05], // exit(0)
  ].flat()
  const program = Buffer.alloc(CODE_AT + code.length)
  program.write('\x7fELF\x02\x01\x01', 'latin1')
  program.writeUInt16LE(2, 16) // an executable
  program.writeUInt16LE(62, 18) // of x86_64
  program.writeUInt32LE(1, 20)
  program.writeBigUInt64LE(BigInt(ORIGIN + CODE_AT), 24)
  program.writeBigUInt64LE(64n, 32) // offset of the program header
  program.writeUInt16LE(64, 52)
  program.writeUInt16LE(56, 54)
  program.writeUInt16LE(1, 56)
  program.writeUInt32LE(1, 64) // PT_LOAD
  program.writeUInt32LE(5, 68) // readable and executable
  program.writeBigUInt64LE(BigInt(ORIGIN), 80)
  program.writeBigUInt64LE(BigInt(ORIGIN), 88)
  program.writeBigUInt64LE(BigInt(program.length), 96)
  program.writeBigUInt64LE(BigInt(program.length), 104)
  program.writeBigUInt64LE(4096n, 112)
  Buffer.from(code).copy(program, CODE_AT)
  return program
}
