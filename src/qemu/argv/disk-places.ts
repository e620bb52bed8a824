import { describeArch, type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { SystemDiskSpec } from '../../spec/disk-spec.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { DiskInterface } from '../../spec/options/disks.js'

/** Where a disk is: the bus that it is on, and its number there. */
export interface Place {
  readonly bus: string | undefined
  readonly unit: number
}

interface DiskPlaces {
  /** What the disks are connected to, where the machine does not have it by itself. */
  readonly controllers: readonly string[]
  readonly system: Place | undefined
  readonly further: readonly Place[]
}

/** The controllers that are added once there is a disk for them. */
const CONTROLLERS: Partial<Record<DiskInterface, (arch: GuestArch) => string | undefined>> = {
  // A machine without virtio has one on its board.
  scsi: (arch) => describeArch(arch).virtio && `${virtioDevice('scsi', arch)},id=scsi`,
  sata: () => 'ahci,id=sata',
  usb: () => 'qemu-xhci,id=usb',
  sd: () => 'sdhci-pci',
  floppy: () => 'isa-fdc',
}

/** Gives each disk its place; those that say nothing get what is free. */
export function placeDisks(spec: MachineSpec, hasSystemDisk: boolean): DiskPlaces {
  const disks: readonly SystemDiskSpec[] = [...(hasSystemDisk ? [spec.systemDisk] : []), ...spec.disks]
  const hasSata = hasSataByItself(spec.machine)
  // Such a machine has nothing that is IDE but its SATA controller.
  const kinds = disks.map(({ interface: kind }) => (hasSata && kind === 'ide' ? 'sata' : kind))
  const name = (kind: DiskInterface, index: number) => `${kind} ${index}`
  const taken = new Set(
    disks.flatMap(({ index }, at) => (index === undefined ? [] : [name(kinds[at] as DiskInterface, index)])),
  )
  const places = disks.map((disk, at) => {
    const kind = kinds[at] as DiskInterface
    let index = disk.index ?? (spec.firmware.type === 'uefi' && kind === 'pflash' ? FIRMWARE_FLASH : 0)
    while (disk.index === undefined && taken.has(name(kind, index))) index++
    taken.add(name(kind, index))
    return findPlace(kind, index, hasSata)
  })
  const wanted = new Set([...kinds, ...(spec.devices.usb ? (['usb'] as const) : [])])
  wanted.delete(hasSata ? 'sata' : 'floppy') // the machine has it by itself
  return {
    controllers: [...wanted].flatMap((kind) => {
      const controller = CONTROLLERS[kind]?.(spec.arch)
      return controller === undefined ? [] : ['-device', controller]
    }),
    system: hasSystemDisk ? places[0] : undefined,
    further: places.slice(hasSystemDisk ? 1 : 0),
  }
}

/** The firmware's code, and its variables. */
const FIRMWARE_FLASH = 2

export function hasSataByItself(machine: string): boolean {
  return /^(pc-)?q35/.test(machine)
}

/** Two IDE disks share a cable; a SATA disk has one of its own. */
function findPlace(kind: DiskInterface, index: number, hasSata: boolean): Place {
  if (kind === 'scsi') return { bus: 'scsi.0', unit: index }
  if (kind === 'usb') return { bus: 'usb.0', unit: index }
  if (kind === 'ide') return { bus: `ide.${Math.floor(index / 2)}`, unit: index % 2 }
  if (kind === 'sata') return { bus: `${hasSata ? 'ide' : 'sata'}.${index}`, unit: 0 }
  return { bus: undefined, unit: index }
}
