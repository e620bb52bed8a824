import type { NetworkOptions } from '../../spec/options/network.js'
import type { VMOptions } from '../../spec/options.js'
import { count } from './cpu.js'
import type { Note } from './note.js'
import type { XmlElement } from './xml-element.js'

const MODELS: Readonly<Record<string, string>> = {
  virtio: 'virtio-net-pci',
  'virtio-transitional': 'virtio-net-pci-transitional',
  'virtio-non-transitional': 'virtio-net-pci-non-transitional',
}
/** What libvirt gives a PC where the domain names no card. */
const DEFAULT_MODEL = 'rtl8139'

/** The cards; whatever was behind them, now it is a network of each one's own. */
export function readInterfaces(domain: XmlElement, note: Note): VMOptions {
  const order = (domain.child('os')?.children('boot') ?? []).map((boot) => boot.attribute('dev'))
  const place = order.indexOf('network')
  const elements = domain.child('devices')?.children('interface') ?? []
  const cards = elements.map((element, index) => {
    const card = readCard(element, note)
    return place >= 0 && index === 0 && card.bootIndex === undefined
      ? { ...card, bootIndex: place + 1 }
      : card
  })
  if (cards.length === 0) {
    note('no <interface>', 'devices/interface', 'there is a card nevertheless, by which the guest is reached')
    return {}
  }
  return { network: cards.length === 1 ? cards[0] : cards } as VMOptions
}

function readCard(element: XmlElement, note: Note): NetworkOptions {
  const type = element.attribute('type') ?? ''
  const source = element.child('source')
  const behind = ['network', 'bridge', 'dev'].flatMap((name) => source?.attribute(name) ?? [])
  if (type !== 'user') {
    note(
      `<interface type="${type}">${behind.length === 0 ? '' : ` (${behind.join(', ')})`}`,
      'devices/interface',
      "a user-mode network of the guest's own is in its place, which reaches nothing outside unless `internet` is true",
    )
  }
  const model = element.child('model')?.attribute('type') ?? DEFAULT_MODEL
  const mac = element.child('mac')?.attribute('address')
  const bootIndex = count(element.child('boot')?.attribute('order'))
  return {
    model: MODELS[model] ?? model,
    ...(mac === undefined ? {} : { mac }),
    ...(bootIndex === undefined ? {} : { bootIndex }),
  }
}
