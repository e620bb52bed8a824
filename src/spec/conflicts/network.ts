import { BlockList } from 'node:net'
import { FORWARD_SERVICES, splitAddress } from '../guest-forward.js'
import type { NetworkOptions } from '../options/network.js'
import type { VMOptions } from '../options.js'
import { listNetworks } from '../resolve/resolve-network.js'
import type { Report } from './report.js'

/** Default address range of QEMU's user-mode network. */
const DEFAULT_NET = '10.0.2.0/24'

/** Reports network cards that conflict. */
export function findNetworkConflicts(options: VMOptions, report: Report): void {
  const isList = Array.isArray(options.network)
  const macs = new Map<string, string>()
  listNetworks(options).forEach((card, index) => {
    const path = isList ? `network[${index}]` : 'network'
    if (card.bootfile !== undefined && card.tftp === undefined) {
      report(
        `${path}.bootfile`,
        `"${card.bootfile}"`,
        `\`${path}.tftp\` to be set too (the folder that contains the file)`,
      )
    }
    checkLink(path, card, index, report)
    checkAddresses(path, card, index, report)
    checkGuestForwards(path, card, index, report)
    const mac = card.mac?.toLowerCase()
    if (mac === undefined) return
    const other = macs.get(mac)
    if (other !== undefined) report(`${path}.mac`, `"${card.mac}"`, `an address other than that of ${other}`)
    macs.set(mac, path)
  })
}

/** Options that require the user-mode network. */
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

/**
 * A card is attached to one network. The first card requires the user-mode network, which connects
 * the guest to the host.
 */
function checkLink(path: string, card: NetworkOptions, index: number, report: Report): void {
  const kind = card.tap === undefined ? (card.hub === undefined ? undefined : 'hub') : 'tap'
  if (kind === undefined) return
  const got = `"${card[kind]}"`
  if (index === 0) {
    report(
      `${path}.${kind}`,
      `${got} on the first card`,
      'a further card: `network: [{}, { … }]` (the first card connects the guest to the host)',
    )
  }
  if (card.tap !== undefined && card.hub !== undefined)
    report(`${path}.tap`, 'both', 'only one of `tap` and `hub`')
  const others = USER_NETWORK.filter((name) => Object.hasOwn(card, name))
  if (others.length > 0) {
    report(
      `${path}.${others[0]}`,
      `an option of the user-mode network together with \`${kind}\``,
      'a separate card for each',
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

/** Each forward requires an unused address and exactly one service. */
function checkGuestForwards(path: string, card: NetworkOptions, index: number, report: Report): void {
  const { net, list } = networkOf(card, index)
  const used = new Set<string>()
  for (const [position, forward] of (card.guestfwd ?? []).entries()) {
    const at = `${path}.guestfwd[${position}]`
    const { host } = splitAddress(forward.address)
    const isTaken = [card.host, card.dns].includes(host) || used.has(forward.address)
    if (!list.check(host)) report(`${at}.address`, `"${forward.address}"`, `an address of the network ${net}`)
    else if (isTaken) report(`${at}.address`, `"${forward.address}"`, 'an unused address')
    used.add(forward.address)
    const given = FORWARD_SERVICES.filter((name) => forward[name] !== undefined)
    if (given.length !== 1) {
      const got = given.length === 0 ? 'none of them' : given.map((name) => `\`${name}\``).join(' and ')
      report(at, got, 'exactly one of `command`, `socket`, `tcp` and `handler`')
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
