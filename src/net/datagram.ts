import type { CapturedPacket } from './pcap.js'

/** A UDP datagram as it passed on the wire. */
export interface Datagram {
  readonly atMs: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly payload: Buffer
  /** How long the payload was, also where the capture has only its beginning. */
  readonly length: number
}

const ETHERNET_HEADER = 14
const IPV6_HEADER = 40
const UDP_HEADER = 8
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const
const UDP = 17

/** Reads a frame of Ethernet with UDP over IPv4 or IPv6; undefined for any other, and for a fragment that is not the first. */
export function parseDatagram({ atMs, bytes }: CapturedPacket): Datagram | undefined {
  if (bytes.length < ETHERNET_HEADER + 20) return undefined
  const type = bytes.readUInt16BE(12)
  const ip = bytes.subarray(ETHERNET_HEADER)
  const start = type === ETHERTYPE.ipv4 ? udpOfIpv4(ip) : type === ETHERTYPE.ipv6 ? udpOfIpv6(ip) : undefined
  if (start === undefined || ip.length < start + UDP_HEADER) return undefined
  return {
    atMs,
    sourcePort: ip.readUInt16BE(start),
    destinationPort: ip.readUInt16BE(start + 2),
    payload: ip.subarray(start + UDP_HEADER),
    length: ip.readUInt16BE(start + 4) - UDP_HEADER,
  }
}

function udpOfIpv4(ip: Buffer): number | undefined {
  const isFirst = (ip.readUInt16BE(6) & 0x1fff) === 0
  return ip[9] === UDP && isFirst ? ((ip[0] as number) & 0x0f) * 4 : undefined
}

/** A boot loader sends no extension headers. */
function udpOfIpv6(ip: Buffer): number | undefined {
  return ip.length >= IPV6_HEADER && ip[6] === UDP ? IPV6_HEADER : undefined
}
