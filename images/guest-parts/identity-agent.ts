import {
  CLOCK_MESSAGE_BYTES,
  HOST_KEY_BYTES,
  type HostKeyFormat,
  IDENTITY,
  IDENTITY_MESSAGE_BYTES,
  PARKED,
} from '../../src/provisioning/guest-identity.js'
import { assembleSyscallProgram, ENVIRONMENT, KEPT, type Syscall } from './syscall-program.js'

/** Virtio-serial port through which withvm communicates with the identity agent. */
const PORT = '/dev/virtio-ports/org.withvm.identity-agent.0'
/**
 * FIFO through which a waiting script is notified that the clone was restored, with the action to
 * perform.
 */
export const RESTORED_FIFO = '/run/withvm/restored'
export const IDENTITY_AGENT_PATHS = {
  clock: '/usr/lib/withvm/clock-agent',
  identity: '/usr/lib/withvm/identity-agent',
} as const

/** Numbers of Linux' x86-64 system calls (arch/x86/entry/syscalls/syscall_64.tbl). */
const SYS = {
  read: 0,
  write: 1,
  open: 2,
  close: 3,
  ioctl: 16,
  dup2: 33,
  nanosleep: 35,
  socket: 41,
  execve: 59,
  sethostname: 170,
  clockSettime: 227,
} as const
const O_WRONLY = 1
const O_RDWR = 2
const O_CREAT = 0o100
/** Requests of include/uapi/linux/random.h and sockios.h. */
const IOCTL = {
  addEntropy: 0x40085203,
  reseed: 0x5207,
  setHardwareAddress: 0x8924,
  addRoute: 0x890b,
} as const
const AF_INET = 2
const SOCK_DGRAM = 2
const CLOCK_REALTIME = 0
/** Descriptors of the port and the random device. */
const FD = { port: 10, random: 11 } as const
/** Delay between attempts to read a port without a peer. */
const PAUSE = timespec(20_000_000)

/**
 * Assembles the clock agent, which sets the clock and seeds the random pool on request, after the
 * guest was paused.
 */
export function assembleClockAgent(): Buffer {
  return assembleSyscallProgram(
    // If the identity agent has executed this program, both descriptors are already open.
    [...openAs(FD.port, PORT, O_RDWR), ...openAs(FD.random, '/dev/urandom', O_RDWR)],
    [
      { number: SYS.nanosleep, args: [PAUSE, 0] },
      {
        number: SYS.read,
        args: [FD.port, { bufferAt: 0 }, CLOCK_MESSAGE_BYTES],
        expected: CLOCK_MESSAGE_BYTES,
      },
      ...refreshClock(),
      sendAnswer(IDENTITY.clockNonce),
    ],
  )
}

/** Files of a guest that differ between clones. */
export interface IdentityFiles {
  readonly machineId: string
  readonly authorizedKeys: string
  /** Host key; the SSH server of a clone reads it for each connection. */
  readonly hostKey: string
  readonly hostKeyFormat: HostKeyFormat
}

/**
 * Assembles the identity agent. It waits in a template for the identity of a clone, installs it,
 * and becomes the clock agent.
 */
export function assembleIdentityAgent(files: IdentityFiles): Buffer {
  const { hostname, address, defaultRoute, machineId, authorizedKeys, hostKey, afterwards, nonce } = IDENTITY
  const hostKeyBytes = HOST_KEY_BYTES[files.hostKeyFormat]
  const fifo = 12
  return assembleSyscallProgram([
    ...openAs(FD.port, PORT, O_RDWR),
    ...openAs(FD.random, '/dev/urandom', O_RDWR),
    { number: SYS.write, args: [FD.port, Buffer.from(PARKED), PARKED.length] },
    { number: SYS.read, args: [FD.port, { bufferAt: 0 }, IDENTITY_MESSAGE_BYTES] },
    ...refreshClock(),
    { number: SYS.sethostname, args: [{ bufferAt: hostname.at }, hostname.bytes] },
    { number: SYS.socket, args: [AF_INET, SOCK_DGRAM, 0], keep: true },
    { number: SYS.ioctl, args: [KEPT, IOCTL.setHardwareAddress, { bufferAt: address.at }] },
    { number: SYS.ioctl, args: [KEPT, IOCTL.addRoute, { bufferAt: defaultRoute.at }] },
    { number: SYS.close, args: [KEPT] },
    // The files already have this length, so overwriting them needs no disk access.
    ...writeFile(files.machineId, machineId, 0o444),
    ...writeFile(files.authorizedKeys, authorizedKeys, 0o600),
    ...writeFile(files.hostKey, { at: hostKey.at, bytes: hostKeyBytes }, 0o600),
    sendAnswer(nonce),
    ...openAs(fifo, RESTORED_FIFO, O_WRONLY),
    { number: SYS.write, args: [fifo, { bufferAt: afterwards.at }, afterwards.bytes] },
    { number: SYS.close, args: [fifo] },
    {
      number: SYS.execve,
      args: [IDENTITY_AGENT_PATHS.clock, { strings: ['identity-agent'] }, ENVIRONMENT],
    },
  ])
}

function refreshClock(): Syscall[] {
  return [
    { number: SYS.clockSettime, args: [CLOCK_REALTIME, { bufferAt: IDENTITY.time.at }] },
    { number: SYS.ioctl, args: [FD.random, IOCTL.addEntropy, { bufferAt: IDENTITY.entropy.at }] },
    { number: SYS.ioctl, args: [FD.random, IOCTL.reseed, 0] },
  ]
}

function sendAnswer(nonce: { readonly at: number; readonly bytes: number }): Syscall {
  return { number: SYS.write, args: [FD.port, { bufferAt: nonce.at }, nonce.bytes] }
}

function openAs(fd: number, path: string, flags: number): Syscall[] {
  return [
    { number: SYS.open, args: [path, flags, 0], keep: true },
    { number: SYS.dup2, args: [KEPT, fd] },
    { number: SYS.close, args: [KEPT] },
  ]
}

function writeFile(
  path: string,
  field: { readonly at: number; readonly bytes: number },
  mode: number,
): Syscall[] {
  return [
    { number: SYS.open, args: [path, O_WRONLY | O_CREAT, mode], keep: true },
    { number: SYS.write, args: [KEPT, { bufferAt: field.at }, field.bytes] },
    { number: SYS.close, args: [KEPT] },
  ]
}

/** Encodes a `struct timespec` of less than a second. */
function timespec(nanoseconds: number): Buffer {
  const value = Buffer.alloc(16)
  value.writeBigInt64LE(BigInt(nanoseconds), 8)
  return value
}
