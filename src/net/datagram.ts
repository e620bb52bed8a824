import { MALFORMED } from './malformed.js'
import type { CapturedPacket } from './pcap.js'

/** Captured UDP datagram. */
export interface Datagram {
  /** Time of the capture in milliseconds since 1970, by the host's clock. */
  readonly atMs: number
  readonly sourcePort: number
  readonly destinationPort: number
  /** Captured part of the payload. */
  readonly payload: Buffer
  /** Length of the complete payload, even if the capture is truncated. */
  readonly length: number
}

const ETHERNET_HEADER = 14
const IPV4_HEADER = 20
const IPV6_HEADER = 40
const UDP_HEADER = 8
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const
const UDP = 17

interface UdpPosition {
  /** Offset of the UDP header in the IP packet. */
  readonly start: number
  /** True if the packet is the first fragment of the datagram. */
  readonly isFirstFragment: boolean
}

/**
 * Parses an Ethernet frame with UDP over IPv4 or IPv6. Returns undefined for other frames and for
 * later fragments, and {@link MALFORMED} for inconsistent lengths.
 */
export function parseDatagram({
  atMs,
  bytes,
  length: wireLength,
}: CapturedPacket): Datagram | typeof MALFORMED | undefined {
  if (bytes.length < ETHERNET_HEADER) return undefined
  const type = bytes.readUInt16BE(12)
  const ip = bytes.subarray(ETHERNET_HEADER)
  const udp = type === ETHERTYPE.ipv4 ? udpOfIpv4(ip) : type === ETHERTYPE.ipv6 ? udpOfIpv6(ip) : undefined
  if (udp === undefined || udp === MALFORMED) return udp
  const { start, isFirstFragment } = udp
  if (ip.length < start + UDP_HEADER) return MALFORMED
  const length = ip.readUInt16BE(start + 4) - UDP_HEADER
  const onWire = wireLength - ETHERNET_HEADER - start - UDP_HEADER
  if (length < 0 || (length > onWire && !isFirstFragment)) return MALFORMED
  return {
    atMs,
    sourcePort: ip.readUInt16BE(start),
    destinationPort: ip.readUInt16BE(start + 2),
    // Without the padding of short frames.
    payload: ip.subarray(start + UDP_HEADER, start + UDP_HEADER + length),
    length,
  }
}

function udpOfIpv4(ip: Buffer): UdpPosition | typeof MALFORMED | undefined {
  if (ip.length < IPV4_HEADER || ip[9] !== UDP) return undefined
  const fragment = ip.readUInt16BE(6)
  if ((fragment & 0x1fff) !== 0) return undefined
  const start = ((ip[0] as number) & 0x0f) * 4
  return start < IPV4_HEADER ? MALFORMED : { start, isFirstFragment: (fragment & 0x2000) !== 0 }
}

/** Returns undefined for packets with extension headers: boot loaders send none. */
function udpOfIpv6(ip: Buffer): UdpPosition | undefined {
  return ip.length >= IPV6_HEADER && ip[6] === UDP
    ? { start: IPV6_HEADER, isFirstFragment: false }
    : undefined
}
