import { createHash, randomUUID } from 'node:crypto'
import { describeArch } from '../../spec/architectures.js'
import type { MachineSpec, NetworkSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'
import { bootCardOptions, captureArgs, serverOptions } from './netboot.js'
import { networkServices } from './network-services.js'

/**
 * Returns the arguments of the network cards. Each card has its own network; ports are forwarded to
 * the first card.
 */
export function networkArgs(
  spec: MachineSpec,
  {
    hostPorts,
    mac,
    furtherMacs = [],
    netboot,
    forwardCommands,
    memoryFiles,
  }: Pick<Wiring, 'hostPorts' | 'mac' | 'furtherMacs' | 'netboot' | 'forwardCommands' | 'memoryFiles'>,
): string[] {
  const { network, furtherNetworks, forwards } = spec
  const ports = forwards.map(({ protocol, bind, guest }, index) => {
    return `hostfwd=${protocol}:${bind}:${hostPorts[index]}-:${guest}`
  })
  const isTemplate = memoryFiles?.isWritten === true
  const cards = [network, ...furtherNetworks].flatMap((card, index) => {
    const address = index === 0 ? mac : furtherMacs[index - 1]
    return [
      '-netdev',
      [
        backend(isTemplate ? isolate(card) : card, index, index === 0 ? serverOptions(spec, netboot) : {}),
        ...networkServices(card, forwardCommands),
        ...(index === 0 ? ports : []),
      ].join(','),
      ...cardArgs(spec, index, address, netboot),
    ]
  })
  return [...cards, ...captureArgs(netboot)]
}

function cardArgs(
  spec: MachineSpec,
  index: number,
  mac: string | undefined,
  netboot: Wiring['netboot'],
): string[] {
  const { arch, network, furtherNetworks, bootOrder, bootOnce } = spec
  const { card: board, virtio } = describeArch(arch)
  const card = [network, ...furtherNetworks][index] as NetworkSpec
  const netdev = `net${index}`
  if (board.isOnBoard) return ['-net', joinOption('nic', { model: card.model, netdev, macaddr: mac })]
  const boot = index === 0 ? bootCardOptions(spec, netboot) : {}
  const isBooted = `${bootOrder ?? ''}${bootOnce ?? ''}`.includes('n')
  // The boot ROM is needed only if the firmware may boot from the network. Only PCI cards have one.
  const needsRom = isBooted || card.bootIndex !== undefined || isServed(card, index, spec)
  return [
    '-device',
    joinOption(card.model, {
      netdev,
      id: boot.id ?? card.id,
      addr: card.address,
      vectors: card.vectors,
      mac,
      bootindex: card.bootIndex,
      romfile: needsRom || virtio === 'ccw' ? undefined : '',
      ...boot,
    }),
  ]
}

function backend(
  card: NetworkSpec,
  index: number,
  servers: Readonly<Record<string, string | undefined>>,
): string {
  const { link } = card
  if (link === undefined) return userNetwork(card, index, servers)
  const id = `net${index}`
  if ('tap' in link) return joinOption('tap', { id, ifname: link.tap, script: 'no', downscript: 'no' })
  return joinOption('socket', { id, mcast: hubAddress(link.hub), localaddr: '127.0.0.1' })
}

/**
 * Returns a card on a LAN of its own: a guest that becomes a template must not meet other guests.
 */
function isolate(card: NetworkSpec): NetworkSpec {
  return card.link === undefined ? card : { ...card, link: { hub: randomUUID() } }
}

/**
 * Returns a multicast group for a name, unique to this process. It is used on the loopback
 * interface only.
 */
function hubAddress(name: string): string {
  const digest = createHash('sha256').update(`${process.pid} ${name}`).digest()
  const [a, b, c] = digest
  return `239.${a}.${b}.${c}:${20_000 + (digest.readUInt16BE(3) % 10_000)}`
}

function isServed({ tftp }: NetworkSpec, index: number, { netboot }: MachineSpec): boolean {
  return tftp !== undefined || (index === 0 && netboot !== undefined)
}

function userNetwork(
  { internet, tftp, bootfile, addresses }: NetworkSpec,
  index: number,
  servers: Readonly<Record<string, string | undefined>>,
): string {
  const restrict = internet ? 'off' : 'on'
  return joinOption('user', { id: `net${index}`, restrict, tftp, bootfile, ...servers, ...addresses })
}
