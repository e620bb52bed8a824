import type { DeviceOptionGroup, DeviceOptions } from '../../spec/options/devices.js'
import type { DisplayOptionGroup } from '../../spec/options/display.js'
import type { TpmOptions } from '../../spec/options/firmware.js'
import type { VMOptions } from '../../spec/options.js'
import type { Note } from './note.js'
import type { XmlElement } from './xml-element.js'

const AGENT = 'org.qemu.guest_agent.0'
const VIDEO: Readonly<Record<string, NonNullable<DisplayOptionGroup['vga']>>> = {
  vga: 'std',
  cirrus: 'cirrus',
  vmvga: 'vmware',
  virtio: 'virtio',
  qxl: 'std',
  none: 'none',
}
const SOUND: readonly string[] = ['ac97', 'es1370', 'ich6', 'ich9', 'usb']
const ACTIONS: readonly string[] = ['reset', 'shutdown', 'poweroff', 'pause', 'inject-nmi', 'none']
const INPUT: Readonly<Record<string, string>> = {
  'tablet usb': 'usb-tablet',
  'mouse usb': 'usb-mouse',
  'keyboard usb': 'usb-kbd',
  'tablet virtio': 'virtio-tablet-pci',
  'mouse virtio': 'virtio-mouse-pci',
  'keyboard virtio': 'virtio-keyboard-pci',
}

/** Reads all devices except disks and network cards. */
export function readDevices(domain: XmlElement, note: Note): VMOptions {
  const devices = domain.child('devices')
  if (devices === undefined) return {}
  markConsoles(devices)
  const others = [...readInputs(devices, note), ...readPanic(devices, note)]
  const isUsb = others.some(({ driver }) => driver.startsWith('usb-'))
  return {
    tpm: readTpm(devices, note),
    vga: readVideo(devices, note),
    sound: readSound(devices, note),
    usb: isUsb ? true : undefined,
    rng: readRng(devices, note),
    balloon: devices.child('memballoon')?.attribute('model')?.startsWith('virtio') ? true : undefined,
    watchdog: readWatchdog(devices, note),
    devices: others.length === 0 ? undefined : others,
  } as VMOptions
}

/**
 * Marks the first serial port and the channel of the guest agent as read: withvm always adds both.
 */
function markConsoles(devices: XmlElement): void {
  for (const element of [devices.child('serial'), devices.child('console')]) {
    element?.attribute('type')
    for (const name of ['type', 'port']) element?.child('target')?.attribute(name)
    element?.child('target/model')?.attribute('name')
  }
  for (const channel of devices.children('channel')) {
    const target = channel.child('target')
    const isAgent = target?.attribute('name') === AGENT
    if (!isAgent) continue
    channel.attribute('type')
    target?.attribute('type')
    channel.child('source')?.attribute('mode')
    channel.child('source')?.attribute('path')
  }
}

function readTpm(devices: XmlElement, note: Note): VMOptions['tpm'] {
  const tpm = devices.child('tpm')
  if (tpm === undefined) return undefined
  const backend = tpm.child('backend')
  const type = backend?.attribute('type')
  if (type !== 'emulator') {
    note(
      `<tpm> with the back end ${type}`,
      'devices/tpm',
      'a host TPM supports only one guest: withvm emulates a TPM',
    )
  }
  const version = backend?.attribute('version')
  const isCrb = tpm.attribute('model') === 'tpm-crb'
  const options: TpmOptions = {
    ...(version === '1.2' ? { version } : {}),
    ...(isCrb ? { model: 'crb' as const } : {}),
  }
  return Object.keys(options).length === 0 ? true : options
}

function readVideo(devices: XmlElement, note: Note): DisplayOptionGroup['vga'] {
  const type = devices.child('video/model')?.attribute('type')
  if (type === undefined || type === 'none') return undefined
  const vga = VIDEO[type]
  if (vga === undefined) note(`<video> with the model ${type}`, 'devices/video', 'add it with `devices`')
  if (type === 'qxl') {
    note(
      '<video> with the model qxl',
      'devices/video',
      'without SPICE it equals the standard card, which replaces it',
    )
  }
  return vga
}

function readSound(devices: XmlElement, note: Note): DeviceOptionGroup['sound'] {
  const model = devices.child('sound')?.attribute('model')
  if (model === undefined) return undefined
  if (SOUND.includes(model)) return model as DeviceOptionGroup['sound']
  note(`<sound model="${model}">`, 'devices/sound', 'QEMU does not support this card')
  return undefined
}

function readRng(devices: XmlElement, note: Note): true | undefined {
  const rng = devices.child('rng')
  if (rng === undefined) return undefined
  rng.attribute('model')
  const backend = rng.child('backend')
  if (backend?.attribute('model') === 'egd') {
    note('<rng> with the back end egd', 'devices/rng/backend', 'the host provides the random numbers')
  } else if (backend !== undefined && backend.text !== '' && backend.text !== '/dev/urandom') {
    note(
      `<backend>${backend.text}</backend>`,
      'devices/rng/backend',
      'the kernel of the host provides the random numbers',
    )
  }
  return true
}

function readWatchdog(devices: XmlElement, note: Note): DeviceOptionGroup['watchdog'] {
  const element = devices.child('watchdog')
  if (element === undefined) return undefined
  const model = element.attribute('model')
  const action = element.attribute('action') ?? 'reset'
  if (model === 'itco') {
    note('<watchdog model="itco">', 'devices/watchdog', 'the chipset of a q35 machine includes it')
    return undefined
  }
  const isKnown = ACTIONS.includes(action)
  if (!isKnown)
    note(`<watchdog action="${action}">`, 'devices/watchdog@action', 'the watchdog resets the guest')
  return {
    ...(model === 'ib700' ? { model } : {}),
    action: (isKnown ? action : 'reset') as 'reset',
  }
}

/** Reads input devices. The PS/2 keyboard and mouse are part of a PC. */
function readInputs(devices: XmlElement, note: Note): DeviceOptions[] {
  return devices.children('input').flatMap((input) => {
    const type = input.attribute('type') ?? ''
    const bus = input.attribute('bus') ?? (type === 'tablet' ? 'usb' : 'ps2')
    if (bus === 'ps2') return []
    const driver = INPUT[`${type} ${bus}`]
    if (driver !== undefined) return [{ driver }]
    note(`<input type="${type}" bus="${bus}">`, 'devices/input', 'QEMU does not support this device')
    return []
  })
}

function readPanic(devices: XmlElement, note: Note): DeviceOptions[] {
  return devices.children('panic').flatMap((panic) => {
    const model = panic.attribute('model') ?? 'isa'
    if (model === 'isa') return [{ driver: 'pvpanic' }]
    note(`<panic model="${model}">`, 'devices/panic', 'QEMU supports it only in other machine types')
    return []
  })
}
