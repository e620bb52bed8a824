/** Binary arguments of Linux network ioctls (netdevice(7)), little-endian. */

const AF_INET = 2
const RTF_UP_GATEWAY = 3
export const ROUTE_BYTES = 120

/** Builds a `struct ifreq`: 16 bytes of name, then the flags. */
export function buildFlags(name: string, flags: number): Buffer {
  const request = Buffer.alloc(40)
  request.write(name)
  request.writeUInt16LE(flags, 16)
  return request
}

/** Builds a `struct ifreq`: 16 bytes of name, then a socket address. */
export function buildAddress(name: string, address: readonly number[]): Buffer {
  const request = Buffer.alloc(40)
  request.write(name)
  writeSocketAddress(request, 16, address)
  return request
}

/**
 * Builds a `struct rtentry`: 8 bytes, then destination, gateway and mask as socket addresses, then
 * flags.
 */
export function buildDefaultRoute(gateway: readonly number[]): Buffer {
  const route = Buffer.alloc(ROUTE_BYTES)
  writeSocketAddress(route, 8, [0, 0, 0, 0])
  writeSocketAddress(route, 24, gateway)
  writeSocketAddress(route, 40, [0, 0, 0, 0])
  route.writeUInt16LE(RTF_UP_GATEWAY, 56)
  return route
}

function writeSocketAddress(target: Buffer, at: number, address: readonly number[]): void {
  target.writeUInt16LE(AF_INET, at)
  target.set(address, at + 4)
}
