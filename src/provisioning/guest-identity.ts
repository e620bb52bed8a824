import { randomBytes } from 'node:crypto'
import { buildDefaultRoute, ROUTE_BYTES } from './network-requests.js'

/**
 * Layout of the message from which the identity agent gives a clone its own identity. The fields
 * have the binary form of the kernel's calls, so the guest computes nothing.
 */
export const IDENTITY = {
  /** `struct timespec` for clock_settime(2). */
  time: { at: 0, bytes: 16 },
  /** `struct rand_pool_info` for the ioctl RNDADDENTROPY (random(4)). */
  entropy: { at: 16, bytes: 72 },
  /**
   * End of a message that only sets the clock and seeds the random pool: 8 bytes that the guest
   * sends back.
   */
  clockNonce: { at: 88, bytes: 8 },
  hostname: { at: 96, bytes: 64 },
  /** `struct ifreq` for the ioctl SIOCSIFHWADDR (netdevice(7)). */
  address: { at: 160, bytes: 40 },
  machineId: { at: 200, bytes: 33 },
  authorizedKeys: { at: 240, bytes: 256 },
  /**
   * Ed25519 key in the form that the guest's SSH server reads; the server's format determines how
   * many bytes are used.
   */
  hostKey: { at: 496, bytes: 512 },
  /** Action after the guest has resumed: a line of text. */
  afterwards: { at: 1008, bytes: 8 },
  /**
   * `struct rtentry` for the ioctl SIOCADDRT; zeros, which the kernel rejects, if the guest has no
   * gateway.
   */
  defaultRoute: { at: 1016, bytes: ROUTE_BYTES },
  nonce: { at: 1136, bytes: 8 },
} as const

/** Size of a host key in a message, by format. A key of OpenSSH is text padded with empty lines. */
export const HOST_KEY_BYTES = { dropbear: 83, openssh: 512 } as const
export type HostKeyFormat = keyof typeof HOST_KEY_BYTES

export const CLOCK_MESSAGE_BYTES = IDENTITY.clockNonce.at + IDENTITY.clockNonce.bytes
export const IDENTITY_MESSAGE_BYTES = IDENTITY.nonce.at + IDENTITY.nonce.bytes

/** Message of the identity agent when it waits for the identity in a template. */
export const PARKED = 'parked\n\n'

/** Values that differ between clones. */
export interface GuestIdentity {
  readonly hostname: string
  /** MAC address, for example `52:54:00:12:34:56`. */
  readonly mac: string
  /** 32 hexadecimal digits. */
  readonly machineId: string
  /** One line of `authorized_keys`; empty if the run has no key for the guest. */
  readonly authorizedKey: string
  /** Host key in the form that the guest's SSH server reads. */
  readonly hostKey: Uint8Array
  /**
   * If true, the guest requests an address through DHCP. False for a guest that is saved as a
   * template again.
   */
  readonly takesLease: boolean
  /** Gateway of the default route, as four bytes; undefined for no default route. */
  readonly gateway: readonly number[] | undefined
}

const ENTROPY_BYTES = 64
const ARPHRD_ETHER = 1

/** Builds the message that sets a guest's clock and seeds its random pool. */
export function buildClockMessage(now = Date.now()): Buffer {
  const message = Buffer.alloc(CLOCK_MESSAGE_BYTES)
  writeClock(message, now)
  message.set(randomBytes(IDENTITY.clockNonce.bytes), IDENTITY.clockNonce.at)
  return message
}

/** Builds the message that also sets the guest's names and keys. */
export function buildIdentityMessage(identity: GuestIdentity, now = Date.now()): Buffer {
  const message = Buffer.alloc(IDENTITY_MESSAGE_BYTES)
  writeClock(message, now)
  writeField(message, IDENTITY.hostname, Buffer.from(identity.hostname))
  const { address } = IDENTITY
  message.write('eth0', address.at)
  message.writeUInt16LE(ARPHRD_ETHER, address.at + 16)
  message.set(Buffer.from(identity.mac.replaceAll(':', ''), 'hex'), address.at + 18)
  writeField(message, IDENTITY.machineId, Buffer.from(`${identity.machineId}\n`))
  message.fill('\n', IDENTITY.authorizedKeys.at, IDENTITY.authorizedKeys.at + IDENTITY.authorizedKeys.bytes)
  writeField(message, IDENTITY.authorizedKeys, Buffer.from(identity.authorizedKey))
  message.fill('\n', IDENTITY.hostKey.at, IDENTITY.hostKey.at + IDENTITY.hostKey.bytes)
  writeField(message, IDENTITY.hostKey, identity.hostKey)
  writeField(message, IDENTITY.afterwards, Buffer.from(identity.takesLease ? 'lease\n\n\n' : 'nothing\n'))
  if (identity.gateway !== undefined) {
    writeField(message, IDENTITY.defaultRoute, buildDefaultRoute(identity.gateway))
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

function writeField(message: Buffer, field: { at: number; bytes: number }, value: Uint8Array): void {
  if (value.length > field.bytes)
    throw new RangeError(`The value has ${value.length} bytes, the field has ${field.bytes}.`)
  message.set(value, field.at)
}
