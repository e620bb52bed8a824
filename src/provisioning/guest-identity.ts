import { randomBytes } from 'node:crypto'
import { buildDefaultRoute, ROUTE_BYTES } from './network-requests.js'

/**
 * The message by which the identity agent of a guest makes it a machine of its own: all that guests which were frozen
 * together would else share. Its layout is what the kernel's calls take, so that the guest has nothing to compute.
 */
export const IDENTITY = {
  /** `struct timespec` for clock_settime(2). */
  time: { at: 0, bytes: 16 },
  /** `struct rand_pool_info` for the ioctl RNDADDENTROPY (random(4)). */
  entropy: { at: 16, bytes: 72 },
  /** The end of a message that only sets the clock and stirs the random pool: 8 bytes that the guest answers with. */
  clockNonce: { at: 88, bytes: 8 },
  hostname: { at: 96, bytes: 64 },
  /** `struct ifreq` for the ioctl SIOCSIFHWADDR (netdevice(7)). */
  address: { at: 160, bytes: 40 },
  machineId: { at: 200, bytes: 33 },
  authorizedKeys: { at: 240, bytes: 256 },
  /** An ed25519 key in the form that the guest's SSH server reads; of this, as much as that takes. */
  hostKey: { at: 496, bytes: 512 },
  /** What is done when the guest has begun: a line of text. */
  afterwards: { at: 1008, bytes: 8 },
  /** `struct rtentry` for the ioctl SIOCADDRT; zeros, which the kernel refuses, where there is no way out. */
  defaultRoute: { at: 1016, bytes: ROUTE_BYTES },
  nonce: { at: 1136, bytes: 8 },
} as const

/** How long a host key is in a message, by its form: that of OpenSSH is text, with empty lines behind it. */
export const HOST_KEY_BYTES = { dropbear: 83, openssh: 512 } as const
export type HostKeyFormat = keyof typeof HOST_KEY_BYTES

export const CLOCK_MESSAGE_BYTES = IDENTITY.clockNonce.at + IDENTITY.clockNonce.bytes
export const IDENTITY_MESSAGE_BYTES = IDENTITY.nonce.at + IDENTITY.nonce.bytes

/** What a parked identity agent says when it has come to where it waits for its identity. */
export const PARKED = 'parked\n\n'

/** What makes one machine another than its clones. */
export interface GuestIdentity {
  readonly hostname: string
  /** As `52:54:00:12:34:56`. */
  readonly mac: string
  /** 32 hexadecimal digits. */
  readonly machineId: string
  /** One line of `authorized_keys`; empty where nobody may log in by a key of ours. */
  readonly authorizedKey: string
  /** In the form that the guest's SSH server reads. */
  readonly hostKey: Uint8Array
  /** Whether it asks for an address by DHCP: not where it is to be frozen again. */
  readonly takesLease: boolean
  /** Where what is not for its own network goes, as four bytes; undefined: nowhere. */
  readonly gateway: readonly number[] | undefined
}

const ENTROPY_BYTES = 64
const ARPHRD_ETHER = 1

/** Builds the message that sets a guest's clock and stirs its random pool. */
export function buildClockMessage(now = Date.now()): Buffer {
  const message = Buffer.alloc(CLOCK_MESSAGE_BYTES)
  writeClock(message, now)
  message.set(randomBytes(IDENTITY.clockNonce.bytes), IDENTITY.clockNonce.at)
  return message
}

/** Builds the message that also gives the guest its names and keys. */
export function buildIdentityMessage(identity: GuestIdentity, now = Date.now()): Buffer {
  const message = Buffer.alloc(IDENTITY_MESSAGE_BYTES)
  writeClock(message, now)
  put(message, IDENTITY.hostname, Buffer.from(identity.hostname))
  const { address } = IDENTITY
  message.write('eth0', address.at)
  message.writeUInt16LE(ARPHRD_ETHER, address.at + 16)
  message.set(Buffer.from(identity.mac.replaceAll(':', ''), 'hex'), address.at + 18)
  put(message, IDENTITY.machineId, Buffer.from(`${identity.machineId}\n`))
  message.fill('\n', IDENTITY.authorizedKeys.at, IDENTITY.authorizedKeys.at + IDENTITY.authorizedKeys.bytes)
  put(message, IDENTITY.authorizedKeys, Buffer.from(identity.authorizedKey))
  message.fill('\n', IDENTITY.hostKey.at, IDENTITY.hostKey.at + IDENTITY.hostKey.bytes)
  put(message, IDENTITY.hostKey, identity.hostKey)
  put(message, IDENTITY.afterwards, Buffer.from(identity.takesLease ? 'lease\n\n\n' : 'nothing\n'))
  if (identity.gateway !== undefined) {
    put(message, IDENTITY.defaultRoute, buildDefaultRoute(identity.gateway))
  }
  message.set(randomBytes(IDENTITY.nonce.bytes), IDENTITY.nonce.at)
  return message
}

function writeClock(message: Buffer, now: number): void {
  message.writeBigInt64LE(BigInt(Math.floor(now / 1000)), IDENTITY.time.at)
  message.writeBigInt64LE(BigInt(Math.floor((now % 1000) * 1e6)), IDENTITY.time.at + 8)
  const { entropy } = IDENTITY
  message.writeInt32LE(ENTROPY_BYTES * 8, entropy.at)
  message.writeInt32LE(ENTROPY_BYTES, entropy.at + 4)
  message.set(randomBytes(ENTROPY_BYTES), entropy.at + 8)
}

function put(message: Buffer, field: { at: number; bytes: number }, value: Uint8Array): void {
  if (value.length > field.bytes) throw new RangeError(`${value.length} bytes in a field of ${field.bytes}`)
  message.set(value, field.at)
}
