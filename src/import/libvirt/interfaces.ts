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
/** Default model of libvirt on x86. */
const DEFAULT_MODEL = 'rtl8139'

/** Reads the network cards. Each card gets its own user-mode network instead of its source. */
export function readInterfaces(domain: XmlElement, note: Note): VMOptions {
  const order = (domain.child('os')?.children('boot') ?? []).map((boot) => boot.attribute('dev'))
  const position = order.indexOf('network')
  const elements = domain.child('devices')?.children('interface') ?? []
  const cards = elements.map((element, index) => {
    const card = readCard(element, note)
    return position >= 0 && index === 0 && card.bootIndex === undefined
      ? { ...card, bootIndex: position + 1 }
      : card
  })
  if (cards.length === 0) {
    note('no <interface>', 'devices/interface', 'withvm adds a card to reach the guest')
    return {}
  }
  return { network: cards.length === 1 ? cards[0] : cards } as VMOptions
}

function readCard(element: XmlElement, note: Note): NetworkOptions {
  const type = element.attribute('type') ?? ''
  const source = element.child('source')
  const sources = ['network', 'bridge', 'dev'].flatMap((name) => source?.attribute(name) ?? [])
  if (type !== 'user') {
    note(
      `<interface type="${type}">${sources.length === 0 ? '' : ` (${sources.join(', ')})`}`,
      'devices/interface',
      'a separate user-mode network replaces it, without external access unless `internet` is true',
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
