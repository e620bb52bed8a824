import { describeArch, type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { SystemDiskSpec } from '../../spec/disk-spec.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { DiskInterface } from '../../spec/options/disks.js'

/** Address of a disk: its bus and its number on that bus. */
export interface DiskAddress {
  readonly bus: string | undefined
  readonly unit: number
}

interface DiskAddresses {
  /** Arguments of the controllers that the machine does not have by default. */
  readonly controllers: readonly string[]
  readonly system: DiskAddress | undefined
  readonly further: readonly DiskAddress[]
}

/** Controllers that are added if a disk uses them. */
const CONTROLLERS: Partial<Record<DiskInterface, (arch: GuestArch) => string | undefined>> = {
  // A machine without virtio has an on-board controller.
  scsi: (arch) => describeArch(arch).virtio && `${virtioDevice('scsi', arch)},id=scsi`,
  sata: () => 'ahci,id=sata',
  usb: () => 'qemu-xhci,id=usb',
  sd: () => 'sdhci-pci',
  floppy: () => 'isa-fdc',
}

/** Assigns an address to each disk. Disks without an index use the next free one. */
export function assignAddresses(spec: MachineSpec, hasSystemDisk: boolean): DiskAddresses {
  const disks: readonly SystemDiskSpec[] = [...(hasSystemDisk ? [spec.systemDisk] : []), ...spec.disks]
  const hasSata = hasBuiltInSata(spec.machine)
  // On a machine with built-in SATA, the only IDE bus is the SATA controller.
  const kinds = disks.map(({ interface: kind }) => (hasSata && kind === 'ide' ? 'sata' : kind))
  const name = (kind: DiskInterface, index: number) => `${kind} ${index}`
  const taken = new Set(
    disks.flatMap(({ index }, at) => (index === undefined ? [] : [name(kinds[at] as DiskInterface, index)])),
  )
  const addresses = disks.map((disk, at) => {
    const kind = kinds[at] as DiskInterface
    let index = disk.index ?? (spec.firmware.type === 'uefi' && kind === 'pflash' ? FIRMWARE_FLASH : 0)
    while (disk.index === undefined && taken.has(name(kind, index))) index++
    taken.add(name(kind, index))
    return toAddress(kind, index, hasSata)
  })
  const wanted = new Set([...kinds, ...(spec.devices.usb ? (['usb'] as const) : [])])
  wanted.delete(hasSata ? 'sata' : 'floppy') // part of the machine
  return {
    controllers: [...wanted].flatMap((kind) => {
      const controller = CONTROLLERS[kind]?.(spec.arch)
      return controller === undefined ? [] : ['-device', controller]
    }),
    system: hasSystemDisk ? addresses[0] : undefined,
    further: addresses.slice(hasSystemDisk ? 1 : 0),
  }
}

/** Number of flash chips used by UEFI firmware: code and variables. */
const FIRMWARE_FLASH = 2

export function hasBuiltInSata(machine: string): boolean {
  return /^(pc-)?q35/.test(machine)
}

/** Converts an index to an address: two IDE disks share a bus, a SATA disk has its own. */
function toAddress(kind: DiskInterface, index: number, hasSata: boolean): DiskAddress {
  if (kind === 'scsi') return { bus: 'scsi.0', unit: index }
  if (kind === 'usb') return { bus: 'usb.0', unit: index }
  if (kind === 'ide') return { bus: `ide.${Math.floor(index / 2)}`, unit: index % 2 }
  if (kind === 'sata') return { bus: `${hasSata ? 'ide' : 'sata'}.${index}`, unit: 0 }
  return { bus: undefined, unit: index }
}
