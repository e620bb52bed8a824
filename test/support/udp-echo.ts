import { assembleSyscallProgram, ENVIRONMENT, KEPT } from '../../images/guest-parts/syscall-program.js'

/** x86-64 numbers of system calls (arch/x86/entry/syscalls/syscall_64.tbl). */
const SYS = { dup2: 33, socket: 41, connect: 42, bind: 49, execve: 59 } as const
const AF_INET = 2
const SOCK_DGRAM = 2

/**
 * Builds a program for a guest that echoes each datagram of `peer`. busybox has no UDP server, but `cat` copies from the
 * socket to itself.
 */
export function udpEchoProgram(guestPort: number, peer: { address: string; port: number }): Buffer {
  const failure = 'udp echo failed'
  return assembleSyscallProgram([
    { number: SYS.socket, args: [AF_INET, SOCK_DGRAM, 0], keep: true, failure },
    { number: SYS.bind, args: [KEPT, socketAddress('0.0.0.0', guestPort), 16], failure },
    { number: SYS.connect, args: [KEPT, socketAddress(peer.address, peer.port), 16], failure },
    { number: SYS.dup2, args: [KEPT, 0], failure },
    { number: SYS.dup2, args: [KEPT, 1], failure },
    { number: SYS.execve, args: ['/usr/bin/busybox', { strings: ['cat'] }, ENVIRONMENT], failure },
  ])
}

/** Builds a `struct sockaddr_in` (ip(7)). */
function socketAddress(address: string, port: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16LE(AF_INET, 0)
  bytes.writeUInt16BE(port, 2)
  bytes.set(address.split('.').map(Number), 4)
  return bytes
}
