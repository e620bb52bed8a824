import { BlockList } from 'node:net'
import { FORWARD_ANSWERS, splitAddress } from '../guest-forward.js'
import type { NetworkOptions } from '../options/network.js'
import type { VMOptions } from '../options.js'
import { listNetworks } from '../resolve/resolve-network.js'
import type { Report } from './report.js'

/** Where QEMU's user network is, where nobody says otherwise. */
const DEFAULT_NET = '10.0.2.0/24'

/** What of the cards cannot be together. */
export function findNetworkConflicts<VM>(options: VMOptions<VM>, report: Report): void {
  const isList = Array.isArray(options.network)
  const macs = new Map<string, string>()
  listNetworks(options).forEach((card, index) => {
    const path = isList ? `network[${index}]` : 'network'
    if (card.bootfile !== undefined && card.tftp === undefined) {
      report(`${path}.bootfile`, `"${card.bootfile}"`, `'${path}.tftp' beside it: the folder with that file`)
    }
    checkLink(path, card, index, report)
    checkAddresses(path, card, index, report)
    checkGuestForwards(path, card, index, report)
    const mac = card.mac?.toLowerCase()
    if (mac === undefined) return
    const other = macs.get(mac)
    if (other !== undefined) report(`${path}.mac`, `"${card.mac}"`, `another than that of ${other}`)
    macs.set(mac, path)
  })
}

const USER_NETWORK = [
  'internet',
  'tftp',
  'guestfwd',
  'smb',
  'bootfile',
  'net',
  'host',
  'dhcpstart',
  'dns',
  'hostname',
  'domainname',
  'ipv6',
]

/** What is behind a card is one thing; behind the first it is QEMU's own network, by which the guest is reached. */
function checkLink(path: string, card: NetworkOptions, index: number, report: Report): void {
  const kind = card.tap === undefined ? (card.hub === undefined ? undefined : 'hub') : 'tap'
  if (kind === undefined) return
  const got = `"${card[kind]}"`
  if (index === 0) {
    report(
      `${path}.${kind}`,
      `${got} at the first card`,
      'a further card: network: [{}, { … }], as the first is how the guest is reached',
    )
  }
  if (card.tap !== undefined && card.hub !== undefined)
    report(`${path}.tap`, `${got} beside \`hub\``, 'one of both')
  const others = USER_NETWORK.filter((name) => Object.hasOwn(card, name))
  if (others.length > 0) {
    report(
      `${path}.${others[0]}`,
      `an option of QEMU's own network beside \`${kind}\``,
      'a card of its own for each',
    )
  }
}

function checkAddresses(path: string, card: NetworkOptions, index: number, report: Report): void {
  const { net, list } = networkOf(card, index)
  for (const name of ['host', 'dhcpstart', 'dns'] as const) {
    const address = card[name]
    if (address === undefined || list.check(address)) continue
    report(`${path}.${name}`, `"${address}"`, `an address of the network ${net}`)
  }
}

/** Each is one thing at an address of its own. */
function checkGuestForwards(path: string, card: NetworkOptions, index: number, report: Report): void {
  const { net, list } = networkOf(card, index)
  const seen = new Set<string>()
  for (const [place, forward] of (card.guestfwd ?? []).entries()) {
    const at = `${path}.guestfwd[${place}]`
    const { host } = splitAddress(forward.address)
    const isTaken = [card.host, card.dns].includes(host) || seen.has(forward.address)
    if (!list.check(host)) report(`${at}.address`, `"${forward.address}"`, `an address of the network ${net}`)
    else if (isTaken) report(`${at}.address`, `"${forward.address}"`, 'one that nothing else has')
    seen.add(forward.address)
    const given = FORWARD_ANSWERS.filter((name) => forward[name] !== undefined)
    if (given.length !== 1) {
      const got = given.length === 0 ? 'an address alone' : given.map((name) => `\`${name}\``).join(' and ')
      report(at, got, 'one of `command`, `socket`, `tcp` and `handler`')
    }
  }
}

function networkOf(card: NetworkOptions, index: number) {
  const net = card.net ?? (index === 0 ? DEFAULT_NET : `10.0.${index + 2}.0/24`)
  const [own = '', bits] = net.split('/')
  const list = new BlockList()
  list.addSubnet(own, Number(bits))
  return { net, list }
}
