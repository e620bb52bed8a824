import { buildStaticElf, ELF_ADDRESS } from '../common/static-elf.js'

const CHUNK_BYTES = 65_536
/** Offset of the buffer, after a `struct pollfd`. */
const CHUNK_AT = ELF_ADDRESS.memory + 16
const AF_UNIX = 1
/** `struct sockaddr_un` (unix(7)). */
const ADDRESS_BYTES = 110

/**
 * Builds a static x86-64 Linux program that forwards its standard input and output, which are one
 * socket, to a unix socket.
 *
 * QEMU starts a process for each connection of a guest (`guestfwd=…-cmd:`). Node.js would take
 * about 10 MiB; this program consists of two processes of a few pages, one for each direction. It
 * exits when the peer of either socket closes it, so none remains after QEMU or this process is
 * killed.
 */
export function buildConnector(socketPath: string): Buffer {
  const address = Buffer.alloc(ADDRESS_BYTES)
  address.writeUInt16LE(AF_UNIX)
  address.write(socketPath, 2)
  const addressAt = ELF_ADDRESS.code + assemble(0).length
  return buildStaticElf({
    code: Buffer.concat([assemble(addressAt), address]),
    memoryBytes: CHUNK_AT - ELF_ADDRESS.memory + CHUNK_BYTES,
  })
}

/**
 * Returns the machine code. Syscall numbers: arch/x86/entry/syscalls/syscall_64.tbl. Jumps are
 * relative to the next instruction.
 */
function assemble(addressAt: number): Buffer {
  const at = (address: number): string => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(address)
    return bytes.toString('hex')
  }
  const instructions = [
    // r12 = socket(AF_UNIX, SOCK_STREAM, 0)
    'bf 01000000', //          mov  edi, 1
    'be 01000000', //          mov  esi, 1
    '31d2', //                 xor  edx, edx
    'b8 29000000 0f05', //     mov  eax, 41; syscall
    '85c0', //                 test eax, eax
    '0f88 ad000000', //        js   exit
    '4189c4', //               mov  r12d, eax
    // connect(r12, address, ADDRESS_BYTES)
    '89c7', //                 mov  edi, eax
    `be ${at(addressAt)}`, //  mov  esi, address
    `ba ${at(ADDRESS_BYTES)}`, // mov edx, ADDRESS_BYTES
    'b8 2a000000 0f05', //     mov  eax, 42; syscall
    '85c0', //                 test eax, eax
    '0f85 8f000000', //        jne  exit
    // fork(): the parent forwards the guest's data (r13 = 0, r14 = r12), the child the responses
    // (r13 = r12, r14 = 0).
    'b8 39000000 0f05', //     mov  eax, 57; syscall
    '85c0', //                 test eax, eax
    '0f88 80000000', //        js   exit
    '7408', //                 je   child
    '4531ed', //               xor  r13d, r13d
    '4589e6', //               mov  r14d, r12d
    'eb06', //                 jmp  read
    '4589e5', //        child: mov  r13d, r12d
    '4531f6', //               xor  r14d, r14d
    // ebx = read(r13, chunk, CHUNK_BYTES)
    '4489ef', //        read:  mov  edi, r13d
    `be ${at(CHUNK_AT)}`, //   mov  esi, chunk
    `ba ${at(CHUNK_BYTES)}`, // mov edx, CHUNK_BYTES
    '31c0 0f05', //            xor  eax, eax; syscall
    '85c0', //                 test eax, eax
    '7e24', //                 jle  end
    '89c3', //                 mov  ebx, eax
    `41bf ${at(CHUNK_AT)}`, // mov  r15d, chunk
    // write(r14, r15, ebx), until all is written
    '4489f7', //        write: mov  edi, r14d
    '4489fe', //               mov  esi, r15d
    '89da', //                 mov  edx, ebx
    'b8 01000000 0f05', //     mov  eax, 1; syscall
    '85c0', //                 test eax, eax
    '7e09', //                 jle  end
    '4101c7', //               add  r15d, eax
    '29c3', //                 sub  ebx, eax
    '75e6', //                 jne  write
    'ebc7', //                 jmp  read
    // shutdown(r14, SHUT_WR): signals the end of data to the other side.
    '4489f7', //        end:   mov  edi, r14d
    'be 01000000', //          mov  esi, 1
    'b8 30000000 0f05', //     mov  eax, 48; syscall
    // poll({ r13, 0 }, 1, -1): waits until the peer has closed both directions.
    `bf ${at(ELF_ADDRESS.memory)}`, // mov edi, pollfd
    '44892f', //               mov  [rdi], r13d
    'be 01000000', //          mov  esi, 1
    'ba ffffffff', //          mov  edx, -1
    'b8 07000000 0f05', //     mov  eax, 7; syscall
    // shutdown(r14, SHUT_RDWR): ends the other process.
    '4489f7', //               mov  edi, r14d
    'be 02000000', //          mov  esi, 2
    'b8 30000000 0f05', //     mov  eax, 48; syscall
    // exit(0)
    'b8 3c000000', //   exit:  mov  eax, 60
    '31ff 0f05', //            xor  edi, edi; syscall
  ]
  return Buffer.from(instructions.join('').replaceAll(' ', ''), 'hex')
}
