import type { HostForward, NetworkOptions } from '../../spec/options/network.js'
import type { Draft, ParsedOption } from './draft.js'
import { formatParameters, lastValue, type Parameters, parseParameters } from './parameters.js'
import { readForward, readUserNetwork } from './user-network.js'

/** Network card of the command line. */
interface Card {
  readonly given: ParsedOption
  readonly model: string
  readonly parameters: Parameters
}

/** Network back end of the command line. */
interface Backend {
  readonly given: ParsedOption
  readonly kind: string
  readonly parameters: Parameters
}

/** Members of a `vlan` (QEMU before 2.12), which connects each card to each back end. */
interface Vlan {
  readonly cards: Card[]
  readonly backends: Backend[]
}

/** Default model of `-net nic` on x86 machines. */
const DEFAULT_MODEL = 'e1000'
const MODELS: Readonly<Record<string, string>> = { virtio: 'virtio-net-pci', 'virtio-net': 'virtio-net-pci' }

/** Parses all networks. Returns the remaining options. */
export function readNetworks(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const used = new Set<ParsedOption>()
  const vlans = new Map<string, Vlan>()
  const pairs: Array<{ readonly card: Card | undefined; readonly backend: Backend | undefined }> = []
  const vlan = (name: string): Vlan => {
    const found = vlans.get(name) ?? { cards: [], backends: [] }
    vlans.set(name, found)
    return found
  }
  const served: Array<readonly [string, string]> = []
  let isNone = false
  for (const one of given) {
    const { flag, value } = one
    if (flag === 'net' || flag === 'nic') {
      used.add(one)
      const [[, kind] = ['', ''], ...parameters] = parseParameters(value, 'type')
      if (kind === 'none') isNone = true
      else if (flag === 'nic') pairs.push(splitNic(one, kind, parameters))
      else if (kind === 'nic') vlan(lastValue(parameters, 'vlan') ?? '0').cards.push(readNic(one, parameters))
      else {
        vlan(lastValue(parameters, 'vlan') ?? '0').backends.push({
          given: one,
          kind,
          parameters: omitKeys(parameters, 'vlan'),
        })
      }
    } else if (flag === 'netdev') {
      used.add(one)
      const [[, kind] = ['', ''], ...parameters] = parseParameters(value, 'type')
      const card = findCard(given, lastValue(parameters, 'id'))
      if (card !== undefined) used.add(card.given)
      pairs.push({ card, backend: { given: one, kind, parameters } })
    } else if (flag === 'tftp' || flag === 'bootp' || flag === 'smb') {
      used.add(one)
      served.push([flag === 'bootp' ? 'bootfile' : flag, value])
      draft.translate(
        one,
        `-netdev user,${flag === 'bootp' ? 'bootfile' : flag}=`,
        'QEMU now provides it as a property of the network',
      )
    } else if (flag === 'redir') {
      used.add(one)
      readRedirection(draft, one)
    }
  }
  for (const [name, { cards, backends }] of vlans) {
    const [card] = cards
    const [backend] = backends
    if (cards.length <= 1 && backends.length <= 1) {
      if (name !== '0')
        for (const { given } of [...cards, ...backends])
          draft.translate(given, 'a separate network', '`vlan` was removed from QEMU')
      pairs.push({ card, backend })
    } else keepHub(draft, name, { cards, backends })
  }
  convertCardPairs(draft, pairs, served)
  if (isNone) {
    draft.options.network = { internet: false }
    draft.translate(
      { flag: 'net', value: 'none' },
      'network: { internet: false }',
      'withvm reaches the guest through this card, which gives the guest no access to other networks',
    )
  }
  return given.filter((one) => !used.has(one))
}

function convertCardPairs(
  draft: Draft,
  pairs: ReadonlyArray<{ readonly card: Card | undefined; readonly backend: Backend | undefined }>,
  served: Parameters,
): void {
  const networks: NetworkOptions[] = []
  const forwards: HostForward[] = []
  for (const { card, backend } of pairs) {
    const own = card === undefined ? {} : readCard(card)
    const isFirst = networks.length === 0
    const user =
      backend === undefined || backend.kind === 'user'
        ? readUserNetwork([...(backend?.parameters ?? []), ...(isFirst ? served : [])])
        : undefined
    if (own === undefined || user === undefined || (!isFirst && user.forwards.length > 0)) {
      keepPair(draft, card, backend)
      continue
    }
    const isOpen = backend !== undefined && user.network.internet !== false
    networks.push({ ...own, ...user.network, ...(isOpen ? { internet: true } : {}) })
    forwards.push(...user.forwards)
    if (card === undefined && backend !== undefined) {
      draft.translate(
        backend.given,
        `network: { model: 'virtio-net-pci' }`,
        'the command line specifies no card for this network, so the default card is used',
      )
    }
    if (backend === undefined && card !== undefined) {
      draft.translate(
        card.given,
        'network: { internet: false }',
        'the command line connects this card to no network; withvm connects it to a closed network to reach the guest',
      )
    }
  }
  if (networks.length > 0) draft.options.network = networks.length === 1 ? networks[0] : networks
  if (forwards.length > 0) draft.options.hostfwd = [...(draft.options.hostfwd ?? []), ...forwards]
  if (networks.length === 0 && pairs.length > 0) {
    const [{ card, backend } = { card: undefined, backend: undefined }] = pairs
    const one = backend?.given ?? card?.given
    if (one !== undefined)
      draft.translate(one, 'the same, plus one card', 'withvm reaches the guest through its own card')
  }
}

function omitKeys(parameters: Parameters, ...keys: readonly string[]): Parameters {
  return parameters.filter(([key]) => !keys.includes(key))
}

function readNic(given: ParsedOption, parameters: Parameters): Card {
  return {
    given,
    model: lastValue(parameters, 'model') ?? DEFAULT_MODEL,
    parameters: omitKeys(parameters, 'vlan', 'model').map(([key, value]) =>
      key === 'macaddr' ? ['mac', value] : key === 'name' ? ['id', value] : [key, value],
    ),
  }
}

const NIC_KEYS = ['model', 'mac', 'addr', 'vectors']

function splitNic(
  given: ParsedOption,
  kind: string,
  parameters: Parameters,
): { card: Card; backend: Backend } {
  return {
    card: readNic(
      given,
      parameters.filter(([key]) => NIC_KEYS.includes(key)),
    ),
    backend: { given, kind, parameters: omitKeys(parameters, ...NIC_KEYS) },
  }
}

function findCard(given: readonly ParsedOption[], netdev: string | undefined): Card | undefined {
  for (const one of given) {
    if (one.flag !== 'device') continue
    const [[, model] = ['', ''], ...parameters] = parseParameters(one.value, 'driver')
    if (netdev !== undefined && lastValue(parameters, 'netdev') === netdev)
      return { given: one, model, parameters }
  }
  return undefined
}

/** Converts a card to options. Undefined if the options do not support it. */
function readCard({ model, parameters }: Card): NetworkOptions | undefined {
  const own: Record<string, string | number> = { model: MODELS[model] ?? model }
  for (const [key, value] of parameters) {
    if (key === 'mac') own.mac = value
    else if (key === 'id') own.id = value
    else if (key === 'addr') own.address = value
    else if (key === 'vectors') own.vectors = Number(value)
    else if (key === 'bootindex') own.bootIndex = Number(value)
    else if (key !== 'netdev' && !(key === 'romfile' && value === '')) return undefined
  }
  return own as NetworkOptions
}

/**
 * Passes a card and its back end through, converted to `-netdev` and `-device` if they use removed
 * options.
 */
function keepPair(draft: Draft, card: Card | undefined, backend: Backend | undefined): void {
  const isNew = (given: ParsedOption | undefined) => given?.flag === 'netdev' || given?.flag === 'device'
  if (backend !== undefined && isNew(backend.given)) {
    draft.keep(backend.given)
    if (card !== undefined) draft.keep(card.given)
    return
  }
  const id = `line${draft.kept.length}`
  if (backend !== undefined) {
    draft.keep({
      flag: 'netdev',
      value:
        `${backend.kind},id=${id},${formatParameters(omitKeys(backend.parameters, 'id', 'name'))}`.replace(
          /,$/,
          '',
        ),
    })
  }
  if (card !== undefined || backend !== undefined) keepCard(draft, card, id)
}

function keepCard(draft: Draft, card: Card | undefined, netdev: string): void {
  const model = card?.model ?? DEFAULT_MODEL
  const parameters: Parameters = [
    ['netdev', netdev],
    ...(card === undefined ? [] : omitKeys(card.parameters, 'netdev')),
  ]
  draft.keep({ flag: 'device', value: `${MODELS[model] ?? model},${formatParameters(parameters)}` })
}

/** Converts a `vlan` to a hub, with a port for each card and back end. */
function keepHub(draft: Draft, name: string, { cards, backends }: Vlan): void {
  const hubid = Number(name) || 0
  let count = 0
  const addPort = (netdev?: string) => {
    const id = `hub${hubid}port${count++}`
    draft.keep({
      flag: 'netdev',
      value: `hubport,id=${id},hubid=${hubid}${netdev === undefined ? '' : `,netdev=${netdev}`}`,
    })
    return id
  }
  backends.forEach(({ kind, parameters, given }, index) => {
    const id = `hub${hubid}end${index}`
    const rest = formatParameters(omitKeys(parameters, 'id', 'name'))
    draft.keep({ flag: 'netdev', value: `${kind},id=${id}${rest === '' ? '' : `,${rest}`}` })
    draft.translate(given, `-netdev ${kind},id=${id} at a hub`, 'hubs replaced `vlan` in QEMU')
    addPort(id)
  })
  for (const card of cards) {
    keepCard(draft, card, addPort())
    draft.translate(card.given, `-device ${card.model} at a hub`, 'hubs replaced `vlan` in QEMU')
  }
}

function readRedirection(draft: Draft, one: ParsedOption): void {
  const [, protocol = 'tcp', host = '', address = '', guest = ''] =
    /^(?:(tcp|udp):)?(\d+):([\d.]*):(\d+)$/.exec(one.value) ?? []
  const forward = readForward(`${protocol}::${host}-${address}:${guest}`)
  if (forward === undefined) return void draft.refuse(one, 'a form such as `-redir tcp:8080::80`')
  const { options } = draft
  options.hostfwd = [...(options.hostfwd ?? []), forward]
  draft.translate(one, `hostfwd: [${JSON.stringify(forward)}]`, 'the option was removed from QEMU')
}
