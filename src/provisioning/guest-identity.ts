import { randomBytes } from 'node:crypto'
import type { IdentityTraits } from '../spec/base-image.js'
import { type AgentMessage, MessageBuilder } from './identity-agent/message.js'
import { buildDefaultRoute, buildHardwareAddress } from './identity-agent/network-requests.js'
import { RANDOM_FD } from './identity-agent/program.js'
import { type AgentArch, TargetWriter } from './identity-agent/target.js'

/** Announcement of the identity agent when the guest may be saved as a template. */
export const PARKED = 'parked'

/**
 * Sizes of files that a parked guest already contains, filled with newlines: overwriting them needs
 * no disk access.
 */
export const FILE_BYTES = {
  authorizedKeys: 256,
  machineId: 33,
  hostKey: { dropbear: 83, openssh: 512 },
} as const

const O_WRONLY = 1
const O_CREAT = 0o100
const AF_INET = 2
const SOCK_DGRAM = 2
const CLOCK_REALTIME = 0
/** Requests of include/uapi/linux/random.h, without direction, and of sockios.h. */
const RNDADDENTROPY = 0x085203
const RNDRESEEDCRNG = 0x5207
const SIOCSIFHWADDR = 0x8924
const SIOCADDRT = 0x890b
/** Descriptor of a socket in the agent. */
const SOCKET_FD = 13
const ENTROPY_BYTES = 64

/** Values that differ between clones. */
export interface GuestIdentity {
  /** Place of the values in the guest. */
  readonly traits: IdentityTraits
  readonly hostname: string
  /** MAC address of the first card, for example `52:54:00:12:34:56`. */
  readonly mac: string
  /**
   * MAC addresses of further cards on a LAN, by their names in the guest. There, two clones with
   * equal addresses would disturb each other.
   */
  readonly lanMacs: ReadonlyMap<string, string>
  /** 32 hexadecimal digits. */
  readonly machineId: string
  /** One line of `authorized_keys`; empty if the run has no key for the guest. */
  readonly authorizedKey: string
  /** Host key in the form that the guest's SSH server reads. */
  readonly hostKey: Uint8Array
  /**
   * Work of a parked guest that resumes: it requests an address through DHCP, except if it is saved
   * as a template again. Undefined for a guest that was not parked, in which nothing waits for it.
   */
  readonly afterwards: 'lease' | 'nothing' | undefined
  /** Gateway of the default route, as four bytes; undefined for no default route. */
  readonly gateway: readonly number[] | undefined
}

/** Builds the message that sets a guest's clock and seeds its random pool. */
export function buildClockMessage(arch: AgentArch, now = Date.now()): AgentMessage {
  const message = new MessageBuilder(arch)
  addClock(message, now)
  return message.build()
}

/** Builds the message that also sets the guest's names and keys. */
export function buildIdentityMessage(
  arch: AgentArch,
  identity: GuestIdentity,
  now = Date.now(),
): AgentMessage {
  const { traits, hostname, machineId, authorizedKey, hostKey } = identity
  const message = new MessageBuilder(arch)
  addClock(message, now)
  message.checkedCall('set its host name', 'sethostname', Buffer.from(hostname), Buffer.byteLength(hostname))
  addNetwork(message, identity)
  const flags = O_WRONLY | O_CREAT
  message.writeFile(traits.machineId, padField(`${machineId}\n`, FILE_BYTES.machineId), {
    flags,
    mode: 0o444,
  })
  const keys = padField(authorizedKey, FILE_BYTES.authorizedKeys)
  message.writeFile(traits.authorizedKeys, keys, { flags, mode: 0o600 })
  const key = padField(hostKey, FILE_BYTES.hostKey[traits.hostKey.format])
  message.writeFile(traits.hostKey.path, key, { flags, mode: 0o600 })
  const { afterwards } = identity
  if (afterwards === undefined) return message.build()
  // The agent answers first: the script that reads the FIFO may not have opened it yet.
  return message.build(() =>
    message.writeFile(traits.restoredFifo, Buffer.from(`${afterwards}\n`), { flags: O_WRONLY }),
  )
}

/** Adds calls that set the clock and seed the random pool. */
export function addClock(message: MessageBuilder, now: number): void {
  const { target } = message
  const time = Buffer.alloc(16)
  const times = new TargetWriter(time, target)
  times.int64(Math.floor(now / 1000), 0)
  times.int64(Math.floor((now % 1000) * 1e6), 8)
  message.checkedCall('set its clock', 'clock_settime', CLOCK_REALTIME, time)
  const entropy = Buffer.alloc(8 + ENTROPY_BYTES)
  const counts = new TargetWriter(entropy, target)
  counts.int32(ENTROPY_BYTES * 8, 0)
  counts.int32(ENTROPY_BYTES, 4)
  entropy.set(randomBytes(ENTROPY_BYTES), 8)
  const { none, write } = target.ioctlDirection
  message.checkedCall('seed its random pool', 'ioctl', RANDOM_FD, write + RNDADDENTROPY, entropy)
  message.checkedCall('use the seed of its random pool', 'ioctl', RANDOM_FD, none + RNDRESEEDCRNG, 0)
}

/** Sets the MAC addresses of the first card and of cards on a LAN, and the default route. */
function addNetwork(message: MessageBuilder, { mac, lanMacs, gateway }: GuestIdentity): void {
  const { target } = message
  const socket = message.call('socket', AF_INET, SOCK_DGRAM, 0)
  message.call('dup3', socket, SOCKET_FD, 0)
  message.call('close', socket)
  message.call('ioctl', SOCKET_FD, SIOCSIFHWADDR, buildHardwareAddress('eth0', mac, target))
  for (const [name, address] of lanMacs) {
    const request = buildHardwareAddress(name, address, target)
    message.checkedCall(`set the MAC address of ${name}`, 'ioctl', SOCKET_FD, SIOCSIFHWADDR, request)
  }
  if (gateway !== undefined) message.call('ioctl', SOCKET_FD, SIOCADDRT, buildDefaultRoute(gateway, target))
  message.call('close', SOCKET_FD)
}

/** Fills a field of a file with newlines. */
export function padField(value: string | Uint8Array, bytes: number): Buffer {
  const field = Buffer.alloc(bytes, '\n')
  const content = Buffer.from(value)
  if (content.length > bytes)
    throw new RangeError(`The value has ${content.length} bytes, the field has ${bytes}.`)
  field.set(content)
  return field
}
