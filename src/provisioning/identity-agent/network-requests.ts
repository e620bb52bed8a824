import { type AgentTarget, TargetWriter } from './target.js'

/** Binary arguments of Linux network ioctls (netdevice(7)). */

const AF_INET = 2
const RTF_UP_GATEWAY = 3
const ARPHRD_ETHER = 1

/** Returns the size of a `struct ifreq`: 16 bytes of name, then a union. */
const requestBytes = ({ wordBytes }: AgentTarget) => (wordBytes === 8 ? 40 : 32)

/** Builds a `struct ifreq` with flags. */
export function buildFlags(name: string, flags: number, target: AgentTarget): Buffer {
  const request = Buffer.alloc(requestBytes(target))
  request.write(name)
  new TargetWriter(request, target).uint16(flags, 16)
  return request
}

/** Builds a `struct ifreq` with an IPv4 address. */
export function buildAddress(name: string, address: readonly number[], target: AgentTarget): Buffer {
  const request = Buffer.alloc(requestBytes(target))
  request.write(name)
  writeSocketAddress(request, 16, address, target)
  return request
}

/** Builds a `struct ifreq` with the MAC address of an Ethernet card. */
export function buildHardwareAddress(name: string, mac: string, target: AgentTarget): Buffer {
  const request = Buffer.alloc(requestBytes(target))
  request.write(name)
  new TargetWriter(request, target).uint16(ARPHRD_ETHER, 16)
  request.set(Buffer.from(mac.replaceAll(':', ''), 'hex'), 18)
  return request
}

/**
 * Builds a `struct rtentry`: a word, then destination, gateway and mask as socket addresses, then
 * flags.
 */
export function buildDefaultRoute(gateway: readonly number[], target: AgentTarget): Buffer {
  const { wordBytes } = target
  const route = Buffer.alloc(wordBytes === 8 ? 120 : 80)
  writeSocketAddress(route, wordBytes, [0, 0, 0, 0], target)
  writeSocketAddress(route, wordBytes + 16, gateway, target)
  writeSocketAddress(route, wordBytes + 32, [0, 0, 0, 0], target)
  new TargetWriter(route, target).uint16(RTF_UP_GATEWAY, wordBytes + 48)
  return route
}

function writeSocketAddress(
  bytes: Buffer,
  at: number,
  address: readonly number[],
  target: AgentTarget,
): void {
  new TargetWriter(bytes, target).uint16(AF_INET, at)
  bytes.set(address, at + 4)
}
