import type { DeviceOptionGroup, DeviceOptions } from '../../spec/options/devices.js'
import type { DiskOptions } from '../../spec/options/disks.js'
import type { DisplayOptionGroup } from '../../spec/options/display.js'
import type { Draft, ParsedOption } from './draft.js'
import { lastValue, parseParameters } from './parameters.js'
import { drop, type Readers } from './readers.js'

type Vga = NonNullable<DisplayOptionGroup['vga']>
type WatchdogAction = 'reset' | 'shutdown' | 'poweroff' | 'pause' | 'inject-nmi' | 'none' | 'debug'

const VGA_MODELS: readonly string[] = ['none', 'std', 'cirrus', 'vmware', 'qxl', 'virtio']
const SOUND: Readonly<Record<string, NonNullable<DeviceOptionGroup['sound']>>> = {
  ac97: 'ac97',
  es1370: 'es1370',
  hda: 'ich6',
}
const USB_DEVICES: Readonly<Record<string, string>> = {
  tablet: 'usb-tablet',
  mouse: 'usb-mouse',
  keyboard: 'usb-kbd',
  'wacom-tablet': 'usb-wacom-tablet',
}
/** Devices without properties that have their own option. */
const PLAIN: Readonly<Record<string, DeviceOptionGroup>> = {
  'virtio-rng-pci': { rng: true },
  'virtio-balloon-pci': { balloon: true },
  'qemu-xhci,id=usb': { usb: true },
  i6300esb: { watchdog: { model: 'i6300esb' } },
  ib700: { watchdog: { model: 'ib700' } },
}

function addDevice(draft: Draft, device: DeviceOptions): void {
  draft.options.devices = [...(draft.options.devices ?? []), device]
}

function readDevice(draft: Draft, given: ParsedOption): void {
  const plain = Object.hasOwn(PLAIN, given.value) ? PLAIN[given.value] : undefined
  if (typeof plain?.watchdog === 'object') {
    setWatchdog(draft, plain.watchdog)
    return
  }
  // A second device of this kind has no option.
  if (plain !== undefined && !Object.keys(plain).some((key) => key in draft.options)) {
    Object.assign(draft.options, plain)
    return
  }
  const [[, driver] = ['', ''], ...properties] = parseParameters(given.value, 'driver')
  // JSON and repeated properties cannot be expressed as an object.
  const isObject = new Set(properties.map(([key]) => key)).size === properties.length
  const isNamed = [driver, ...properties.map(([key]) => key)].every((name) =>
    /^[A-Za-z0-9][\w.-]*$/.test(name),
  )
  if (!isObject || !isNamed) return void draft.keep(given)
  addDevice(draft, { driver, ...Object.fromEntries(properties) })
}

function readVga(draft: Draft, given: ParsedOption): void {
  if (!VGA_MODELS.includes(given.value)) return void draft.keep(given)
  draft.options.vga = given.value as Vga
}

function readSound(draft: Draft, given: ParsedOption): void {
  const sound = SOUND[given.value]
  if (sound === undefined) {
    draft.keep({ flag: 'audiodev', value: 'none,id=line' })
    draft.keep({ flag: 'device', value: `${given.value},audiodev=line` })
    return void draft.translate(
      given,
      `-audiodev none,id=line -device ${given.value},audiodev=line`,
      'the option was removed from QEMU',
    )
  }
  draft.options.sound = sound
  draft.translate(given, `sound: '${sound}'`, 'the option was removed from QEMU')
}

function readUsbDevice(draft: Draft, given: ParsedOption): void {
  const { value } = given
  const driver = USB_DEVICES[value]
  const disk = /^disk:(?:format=(\w+):)?(.+)$/.exec(value)
  const host = /^host:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(value)
  if (driver !== undefined) {
    draft.options.usb = true
    addDevice(draft, { driver })
    return void draft.translate(
      given,
      `usb: true, devices: [{ driver: '${driver}' }]`,
      'QEMU now provides it as a device',
    )
  }
  if (disk?.[2] !== undefined) {
    const image = disk[1] === undefined ? disk[2] : { path: disk[2], format: disk[1] as 'raw' }
    const option: DiskOptions = { interface: 'usb', image }
    draft.options.disks = [...(draft.options.disks ?? []), option]
    return void draft.translate(
      given,
      `disks: [${JSON.stringify(option)}]`,
      'the USB device was removed from QEMU',
    )
  }
  if (host !== null) {
    const device = { driver: 'usb-host', vendorid: `0x${host[1]}`, productid: `0x${host[2]}` }
    draft.options.usb = true
    addDevice(draft, device)
    return void draft.translate(
      given,
      `usb: true, devices: [${JSON.stringify(device)}]`,
      'QEMU now provides it as a device',
    )
  }
  draft.keep(given)
}

function setWatchdog(
  draft: Draft,
  watchdog: { model?: 'i6300esb' | 'ib700'; action?: WatchdogAction },
): void {
  const before = typeof draft.options.watchdog === 'object' ? draft.options.watchdog : {}
  draft.options.watchdog = { ...before, ...watchdog }
}

/** Readers for display cards, sound, USB and other devices. */
export const deviceReaders: Readers = {
  device: readDevice,
  vga: readVga,
  'std-vga': (draft, given) => {
    draft.options.vga = 'std'
    draft.translate(given, "vga: 'std'", 'the option was removed from QEMU')
  },
  soundhw: readSound,
  usbdevice: readUsbDevice,
  balloon: (draft, given) => {
    draft.options.balloon = given.value !== 'none'
    draft.translate(given, `balloon: ${draft.options.balloon}`, 'the option was removed from QEMU')
  },
  watchdog: (draft, given) => {
    setWatchdog(draft, { model: given.value as 'i6300esb' })
    draft.translate(given, `watchdog: { model: '${given.value}' }`, 'QEMU now provides it as a device')
  },
  'watchdog-action': (draft, { value }) => setWatchdog(draft, { action: value as WatchdogAction }),
  action: (draft, given) => {
    const action = lastValue(parseParameters(given.value), 'watchdog')
    if (action === undefined || parseParameters(given.value).length > 1) return void draft.keep(given)
    setWatchdog(draft, { action: action as WatchdogAction })
  },
  pcidevice: (draft, given) => {
    const host = lastValue(parseParameters(given.value), 'host')
    if (host === undefined) return void draft.refuse(given, '`host=` with the address of the device')
    addDevice(draft, { driver: 'vfio-pci', host })
    draft.translate(
      given,
      `devices: [{ driver: 'vfio-pci', host: '${host}' }]`,
      'the option was removed from QEMU',
    )
  },
  virtioconsole: drop('QEMU now provides it as `-device virtconsole`; vm.serial is the console of the guest'),
}

/** Devices that withvm adds for each sound card without audio output. */
const SILENT: Readonly<Record<NonNullable<DeviceOptionGroup['sound']>, readonly string[]>> = {
  ac97: ['AC97,audiodev=sound'],
  es1370: ['ES1370,audiodev=sound'],
  ich6: ['intel-hda', 'hda-duplex,audiodev=sound'],
  ich9: ['ich9-intel-hda', 'hda-duplex,audiodev=sound'],
  usb: ['usb-audio,audiodev=sound'],
}

/** Parses a sound card in the form of `vm.commandLine`. Returns the remaining options. */
export function readSilentSound(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const audiodev = given.find(({ flag, value }) => flag === 'audiodev' && value === 'none,id=sound')
  if (audiodev === undefined) return given
  for (const [sound, devices] of Object.entries(SILENT)) {
    const found = devices.map((text) => given.find(({ flag, value }) => flag === 'device' && value === text))
    if (found.includes(undefined)) continue
    draft.options.sound = sound as DeviceOptionGroup['sound'] & string
    return given.filter((one) => one !== audiodev && !found.includes(one))
  }
  return given
}

/** Removes a watchdog that has an action but no device. */
export function finishDevices({ options }: Draft): void {
  const { watchdog } = options
  if (typeof watchdog === 'object' && watchdog.model === undefined) delete options.watchdog
}
