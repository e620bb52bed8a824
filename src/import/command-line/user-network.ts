import { isIPv4 } from 'node:net'
import type { GuestForward, HostForward, NetworkOptions } from '../../spec/options/network.js'
import { isOn, type Parameters } from './parameters.js'

interface UserNetwork {
  readonly network: NetworkOptions
  readonly forwards: readonly HostForward[]
}

/** Converts a user-mode network to options. Undefined if the options do not support it. */
export function readUserNetwork(parameters: Parameters): UserNetwork | undefined {
  const network: Record<string, string | boolean> = {}
  const forwards: HostForward[] = []
  const guestForwards: GuestForward[] = []
  for (const [key, value] of parameters) {
    if (key === 'id' || key === 'name') continue
    if (key === 'hostfwd') {
      const forward = readForward(value)
      if (forward === undefined) return undefined
      forwards.push(forward)
    } else if (key === 'guestfwd') {
      const forward = readGuestForward(value)
      if (forward === undefined) return undefined
      guestForwards.push(forward)
    } else if (key === 'restrict') network.internet = !isOn(value)
    else if (key === 'ipv6' && !isOn(value)) network.ipv6 = false
    else if (key === 'ipv6' || (key === 'ipv4' && isOn(value))) continue
    else if (key === 'net') {
      const net = readNet(value)
      if (net === undefined) return undefined
      network.net = net
    } else if (PLAIN.includes(key)) network[key] = value
    else return undefined
  }
  const guestfwd = guestForwards.length === 0 ? {} : { guestfwd: guestForwards }
  return { network: { ...network, ...guestfwd } as NetworkOptions, forwards }
}

const PLAIN = ['host', 'dhcpstart', 'dns', 'hostname', 'domainname', 'tftp', 'bootfile', 'smb']

/** Parses `10.0.2.0`, `10.0.2.0/24` and `10.0.2.0/255.255.255.0`. */
function readNet(text: string): string | undefined {
  const [address = '', mask] = text.split('/')
  if (!isIPv4(address)) return undefined
  if (mask === undefined) return `${address}/24`
  if (!isIPv4(mask)) return `${address}/${mask}`
  const bits = mask
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('')
  return /^1*0*$/.test(bits) ? `${address}/${bits.replaceAll('0', '').length}` : undefined
}

/** Addresses that refer to the only guest of a network: its DHCP lease, or no address. */
const GUEST_ADDRESSES = ['', '10.0.2.15', '0.0.0.0']

/**
 * Parses `[tcp|udp]:[address]:port-[address]:port`. Undefined if the options do not support the
 * guest address.
 */
export function readForward(text: string): HostForward | undefined {
  const match = /^(tcp|udp)?:([\d.]*):(\d+)-([\d.]*):(\d+)$/.exec(text)
  if (match === null || !GUEST_ADDRESSES.includes(match[4] ?? '')) return undefined
  const host = Number(match[3])
  return {
    guest: Number(match[5]),
    ...(host === 0 ? {} : { host }),
    ...(match[1] === 'udp' ? { protocol: 'udp' } : {}),
    // QEMU would listen on all addresses; withvm exposes guests on loopback only
    // (docs/security.md).
    bind: match[2] || '127.0.0.1',
  }
}

/**
 * Parses `[tcp]:address:port-cmd:command`, or a server instead of the command. Undefined for a
 * character device.
 */
function readGuestForward(text: string): GuestForward | undefined {
  const [, address, kind, rest = ''] = /^(?:tcp)?:([\d.]+:\d+)-(cmd|tcp|unix):(.+)$/.exec(text) ?? []
  if (address === undefined) return undefined
  if (kind === 'cmd') return { address, command: rest }
  const [target = '', ...options] = rest.split(',')
  if (options.length > 0) return undefined
  return kind === 'unix' ? { address, socket: target } : { address, tcp: target }
}
