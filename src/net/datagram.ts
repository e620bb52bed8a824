import { MALFORMED } from './malformed.js'
import type { CapturedPacket } from './pcap.js'

/** A UDP datagram as it passed on the wire. */
export interface Datagram {
  /** When it passed, by the clock of this host, milliseconds since 1970. */
  readonly atMs: number
  readonly sourcePort: number
  readonly destinationPort: number
  /** The bytes that the capture has of the payload. */
  readonly payload: Buffer
  /** How long the payload was, also where the capture has only its beginning. */
  readonly length: number
}

const ETHERNET_HEADER = 14
const IPV4_HEADER = 20
const IPV6_HEADER = 40
const UDP_HEADER = 8
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const
const UDP = 17

/** Where UDP begins in an IP packet, and whether the packet has only the first part of the datagram. */
interface Place {
  readonly start: number
  readonly isFirstPart: boolean
}

/**
 * Reads an Ethernet frame with UDP over IPv4 or IPv6. Returns undefined for any other frame, and for a fragment that is not the
 * first; {@link MALFORMED} for UDP whose lengths contradict each other.
 */
export function parseDatagram({
  atMs,
  bytes,
  length: wireLength,
}: CapturedPacket): Datagram | typeof MALFORMED | undefined {
  if (bytes.length < ETHERNET_HEADER) return undefined
  const type = bytes.readUInt16BE(12)
  const ip = bytes.subarray(ETHERNET_HEADER)
  const place = type === ETHERTYPE.ipv4 ? udpOfIpv4(ip) : type === ETHERTYPE.ipv6 ? udpOfIpv6(ip) : undefined
  if (place === undefined || place === MALFORMED) return place
  const { start, isFirstPart } = place
  if (ip.length < start + UDP_HEADER) return MALFORMED
  const length = ip.readUInt16BE(start + 4) - UDP_HEADER
  const onWire = wireLength - ETHERNET_HEADER - start - UDP_HEADER
  if (length < 0 || (length > onWire && !isFirstPart)) return MALFORMED
  return {
    atMs,
    sourcePort: ip.readUInt16BE(start),
    destinationPort: ip.readUInt16BE(start + 2),
    payload: ip.subarray(start + UDP_HEADER, start + UDP_HEADER + length), // a short frame is padded
    length,
  }
}

function udpOfIpv4(ip: Buffer): Place | typeof MALFORMED | undefined {
  if (ip.length < IPV4_HEADER || ip[9] !== UDP) return undefined
  const fragment = ip.readUInt16BE(6)
  if ((fragment & 0x1fff) !== 0) return undefined
  const start = ((ip[0] as number) & 0x0f) * 4
  return start < IPV4_HEADER ? MALFORMED : { start, isFirstPart: (fragment & 0x2000) !== 0 }
}

/** A boot loader sends no extension headers. */
function udpOfIpv6(ip: Buffer): Place | undefined {
  return ip.length >= IPV6_HEADER && ip[6] === UDP ? { start: IPV6_HEADER, isFirstPart: false } : undefined
}
