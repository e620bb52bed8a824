import { type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { DiskSpec, SystemDiskSpec } from '../../spec/disk-spec.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { DiskFile, Wiring } from '../command.js'
import { type Place, placeDisks } from './disk-places.js'
import { joinOption, type OptionValues } from './join-option.js'

/** The name by which QEMU's monitor knows the system's disk. */
export const DISK_NODE = 'disk0-overlay'

/** And the file in which what a guest changes of a disk is: 0 is the system's. */
export function diskFileNode(index: number): string {
  return `disk${index}-file`
}

/** The system's disk, which is the overlay of this run on the image, and the further ones. */
export function diskArgs(
  spec: MachineSpec,
  { overlay, diskSecretFile, disks = [] }: Pick<Wiring, 'overlay' | 'diskSecretFile' | 'disks'>,
): string[] {
  const system =
    overlay === undefined ? undefined : { path: overlay, format: 'qcow2', secretFile: diskSecretFile }
  return connectAll(spec, {
    system:
      system &&
      open(system, 0, spec.image?.disk, {
        'node-name': DISK_NODE,
        'file.node-name': diskFileNode(0),
      }),
    further: spec.disks.map(({ content }, index) => {
      const file = disks[index]
      const base = content.kind === 'image' ? content.file : undefined
      return file && open(file, index + 1, base, { 'file.node-name': diskFileNode(index + 1) })
    }),
  })
}

/** The same disks without overlays of ours: QEMU makes snapshots of its own, and drops them. */
export function snapshotDiskArgs(spec: MachineSpec): string[] {
  const openBase = (base: Disk, index: number) =>
    open({ ...base, secretFile: secretByHand(base) }, index, base, { snapshot: 'on' })
  return connectAll(spec, {
    system: spec.image?.disk && openBase(spec.image.disk, 0),
    further: spec.disks.map(({ content }, index) => {
      if (content.kind === 'image') return openBase(content.file, index + 1)
      return content.kind === 'new'
        ? { secrets: [], values: { ...NULL_DISK, 'file.size': content.bytes } }
        : undefined
    }),
  })
}

/** A new disk by hand: it reads as zeroes, and a snapshot takes what is written. */
const NULL_DISK = { 'file.driver': 'null-co', 'file.read-zeroes': 'on', format: 'raw', snapshot: 'on' }

type Disk = NonNullable<BaseImage['disk']>

/** What opens a drive: objects with its secrets, and the values of its `-drive`. */
interface Opened {
  readonly secrets: readonly string[]
  readonly values: OptionValues
}

/** Opens a file that is `base`, or an overlay on it. A secret comes in a file: what stands in the command line, every user of the host can read. */
function open(
  { path, format, secretFile: file }: DiskFile,
  index: number,
  base: Disk | undefined,
  more: OptionValues = {},
): Opened {
  const values = { file: path, format, ...more }
  if (base?.encryption === undefined || file === undefined) return { secrets: [], values }
  const id = `disk${index}-secret`
  const key = `${path === base.path ? '' : 'backing.'}${base.format === 'luks' ? '' : 'encrypt.'}key-secret`
  return { secrets: ['-object', joinOption('secret', { id, file })], values: { ...values, [key]: id } }
}

/** The person who types the command has the secret: where it was not in a file, it has to be put in one. */
function secretByHand({ encryption }: Disk): string | undefined {
  if (encryption === undefined) return undefined
  return typeof encryption.secret === 'string' ? 'SECRET_FILE' : encryption.secret.file
}

function connectAll(
  spec: MachineSpec,
  {
    system,
    further,
  }: { readonly system: Opened | undefined; readonly further: ReadonlyArray<Opened | undefined> },
): string[] {
  const places = placeDisks(spec, system !== undefined)
  return [
    ...places.controllers,
    ...(system === undefined || places.system === undefined
      ? []
      : connect(spec.systemDisk, 0, { place: places.system, arch: spec.arch }, system)),
    ...spec.disks.flatMap((disk, index) => {
      const place = places.further[index]
      return place === undefined ? [] : connect(disk, index + 1, { place, arch: spec.arch }, further[index])
    }),
  ]
}

/** The name of a drive whose medium can be changed while the guest runs; undefined for other disks. 0 is the system's. */
export function mediumDeviceId(
  { media, interface: kind }: Pick<SystemDiskSpec, 'interface'> & Partial<Pick<DiskSpec, 'media'>>,
  index: number,
): string | undefined {
  return media === 'cdrom' || kind === 'floppy' ? `medium${index}` : undefined
}

/** The drive, and the device that shows it to the guest. A drive with nothing in it has the device alone. */
function connect(
  disk: SystemDiskSpec & Partial<Pick<DiskSpec, 'media' | 'isReadonly'>>,
  index: number,
  { place, arch }: { readonly place: Place; readonly arch: GuestArch },
  opened: Opened | undefined,
): string[] {
  const id = `disk${index}`
  const isCd = disk.media === 'cdrom'
  const medium = mediumDeviceId(disk, index)
  const device = deviceOf(disk, { drive: opened && id, place, arch, isCd, id, medium })
  if (opened === undefined) return device
  const drive = joinOption('', {
    ...(disk.interface === 'pflash' ? { if: 'pflash', unit: place.unit } : { id, if: 'none' }),
    ...opened.values,
    media: isCd ? 'cdrom' : undefined,
    readonly: disk.isReadonly ? 'on' : undefined,
    cache: disk.cache,
    discard: disk.discard,
  })
  return [...opened.secrets, '-drive', drive, ...device]
}

function deviceOf(
  disk: SystemDiskSpec,
  {
    drive,
    place,
    arch,
    isCd,
    id,
    medium,
  }: {
    readonly drive: string | undefined
    readonly place: Place
    readonly arch: GuestArch
    readonly isCd: boolean
    readonly id: string
    readonly medium: string | undefined
  },
): string[] {
  const { bus, unit } = place
  const { serial, bootIndex: bootindex } = disk
  const device = (driver: string, values: OptionValues) => ['-device', joinOption(driver, values)]
  switch (disk.interface) {
    case 'virtio':
      return device(virtioDevice('blk', arch), { drive, serial, bootindex })
    case 'scsi':
      return device(isCd ? 'scsi-cd' : 'scsi-hd', {
        id: medium,
        bus,
        'scsi-id': unit,
        drive,
        serial,
        bootindex,
      })
    case 'ide':
    case 'sata':
      return device(isCd ? 'ide-cd' : 'ide-hd', { id: medium, bus, unit, drive, serial, bootindex })
    case 'usb':
      // Its own bus is named after it: without a name of its own that would be `scsi.0`, where SCSI disks are.
      return device('usb-storage', { id: medium ?? `${id}-usb`, bus, drive, serial, bootindex })
    case 'nvme':
      // An NVMe drive without a serial number does not exist.
      return device('nvme', { drive, serial: serial ?? id, bootindex })
    case 'sd':
      return device('sd-card', { drive })
    case 'floppy':
      return [
        ...device('floppy', { id: medium, unit, drive }),
        // The controller knows the order of its drives.
        ...(bootindex === undefined
          ? []
          : ['-global', `isa-fdc.bootindex${unit === 0 ? 'A' : 'B'}=${bootindex}`]),
      ]
    case 'pflash': // part of the machine
      return []
  }
}
