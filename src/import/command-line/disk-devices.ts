import type { DiskConnection, DiskInterface } from '../../spec/options/disks.js'
import type { ParsedOption } from './draft.js'
import { lastValue, type Parameters, parseParameters } from './parameters.js'

/** Disk devices. */
const DEVICES: Readonly<Record<string, DiskInterface>> = {
  'virtio-blk-pci': 'virtio',
  'virtio-blk': 'virtio',
  'scsi-hd': 'scsi',
  'scsi-disk': 'scsi',
  'scsi-cd': 'scsi',
  'ide-hd': 'ide',
  'ide-drive': 'ide',
  'ide-cd': 'ide',
  'usb-storage': 'usb',
  nvme: 'nvme',
  'sd-card': 'sd',
  floppy: 'floppy',
}

/** Controllers that withvm adds itself. */
const CONTROLLERS: Readonly<Record<string, DiskInterface>> = {
  'virtio-scsi-pci': 'scsi',
  'virtio-scsi': 'scsi',
  ahci: 'sata',
  'ich9-ahci': 'sata',
  'qemu-xhci': 'usb',
  'sdhci-pci': 'sd',
  'isa-fdc': 'floppy',
}

/** Controllers of the command line. */
export interface Controllers {
  /** Returns the interface of a bus. Undefined for a bus of a controller that is passed through. */
  kindOf(bus: string): DiskInterface | undefined
  /** Returns true if a controller has no devices left, because its disks became options. */
  isUnused(given: ParsedOption, rest: readonly ParsedOption[]): boolean
  readonly hasSata: boolean
}

export function findControllers(given: readonly ParsedOption[], machine = 'pc'): Controllers {
  const byBus = new Map<string, DiskInterface>()
  const devices = new Map<ParsedOption, string>()
  for (const one of given) {
    const parameters = one.flag === 'device' ? parseParameters(one.value, 'driver') : []
    const kind = CONTROLLERS[lastValue(parameters, 'driver') ?? '']
    if (kind === undefined || parameters.some(([key]) => key !== 'driver' && key !== 'id')) continue
    const id = lastValue(parameters, 'id') ?? ''
    byBus.set(id, kind)
    devices.set(one, id)
  }
  const busOf = ({ flag, value }: ParsedOption) =>
    flag === 'device' ? lastValue(parseParameters(value, 'driver'), 'bus') : undefined
  return {
    hasSata: /^(pc-)?q35/.test(machine),
    kindOf: (bus) => byBus.get(bus.replace(/\.\d+$/, '')),
    isUnused: (one, rest) => {
      const id = devices.get(one)
      if (id === undefined) return false
      const wasUsed = given.some((other) => usesBus(other, id, byBus.get(id), busOf))
      return wasUsed && !rest.some((other) => other !== one && usesBus(other, id, byBus.get(id), busOf))
    },
  }
}

/**
 * Returns true if a device is on the controller `id`, by bus name or by the default bus of its
 * kind.
 */
function usesBus(
  given: ParsedOption,
  id: string,
  kind: DiskInterface | undefined,
  busOf: (given: ParsedOption) => string | undefined,
): boolean {
  const bus = busOf(given)
  if (bus !== undefined) return id !== '' && bus.replace(/\.\d+$/, '') === id
  if (given.flag !== 'device') return false
  return DEVICES[lastValue(parseParameters(given.value, 'driver'), 'driver') ?? ''] === kind
}

/** Parses the connection of a disk from its device. Undefined if the options do not support it. */
export function readDiskDevice(
  device: ParsedOption | undefined,
  controllers: Controllers,
): (DiskConnection & { readonly isCd: boolean }) | undefined {
  if (device === undefined) return undefined
  const parameters = parseParameters(device.value, 'driver')
  const driver = lastValue(parameters, 'driver') ?? ''
  const kind = Object.hasOwn(DEVICES, driver) ? DEVICES[driver] : undefined
  const isKnown = parameters.every(([key]) => {
    return ['driver', 'drive', 'id', 'serial', 'bootindex', 'bus', 'unit', 'scsi-id'].includes(key)
  })
  if (kind === undefined || !isKnown) return undefined
  const address = readAddress(kind, parameters, controllers)
  if (address === undefined) return undefined
  const serial = lastValue(parameters, 'serial')
  const bootIndex = lastValue(parameters, 'bootindex')
  return {
    ...address,
    ...(serial === undefined ? {} : { serial }),
    ...(bootIndex === undefined ? {} : { bootIndex: Number(bootIndex) }),
    isCd: driver.endsWith('-cd'),
  }
}

function readAddress(
  kind: DiskInterface,
  parameters: Parameters,
  { kindOf, hasSata }: Controllers,
): Pick<DiskConnection, 'interface' | 'index'> | undefined {
  const bus = lastValue(parameters, 'bus')
  const unit = lastValue(parameters, kind === 'scsi' ? 'scsi-id' : 'unit')
  const number = Number(bus?.match(/\.(\d+)$/)?.[1] ?? 0)
  if (kind === 'ide' && bus !== undefined) {
    if (kindOf(bus) === 'sata') return { interface: 'sata', index: number }
    if (!bus.startsWith('ide.')) return undefined
    return hasSata
      ? { interface: 'sata', index: number }
      : { interface: 'ide', index: number * 2 + Number(unit ?? 0) }
  }
  if (bus !== undefined && kindOf(bus) !== kind) return undefined
  if (kind === 'usb' || unit === undefined) return { interface: kind }
  return { interface: kind, index: Number(unit) }
}
