import { type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { DiskSpec, SystemDiskSpec } from '../../spec/disk-spec.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { DiskFile, FrozenLayers, Wiring } from '../command.js'
import { assignAddresses, type DiskAddress } from './disk-addresses.js'
import { joinOption, type OptionValues } from './join-option.js'

/**
 * Returns the block node of the overlay of a disk. Index 0 is the system disk, the only one whose
 * node has this name before a fork.
 */
export function diskNode(index: number, layers?: FrozenLayers): string {
  return `disk${index}-overlay${generationSuffix(layers)}`
}

/**
 * Returns the block node of the file to which a guest's writes to a disk go. Index 0 is the system
 * disk.
 */
export function diskFileNode(index: number, layers?: FrozenLayers): string {
  return `disk${index}-file${generationSuffix(layers)}`
}

/** A frozen layer keeps its node, so each further overlay of a disk has a name of its own. */
function generationSuffix(layers: FrozenLayers | undefined): string {
  return layers === undefined || layers.generation === 0 ? '' : `-${layers.generation}`
}

/**
 * Returns the arguments of the system disk, which is the overlay of this run, and of the further
 * disks.
 */
export function diskArgs(
  spec: MachineSpec,
  { overlay, disks = [] }: Pick<Wiring, 'overlay' | 'disks'>,
): string[] {
  return connectAll(spec, {
    system:
      overlay &&
      buildDriveOptions(overlay, 0, spec.image?.disk, {
        'node-name': diskNode(0, overlay.layers),
        'file.node-name': diskFileNode(0, overlay.layers),
      }),
    further: spec.disks.map(({ content }, index) => {
      const file = disks[index]
      const base = content.kind === 'image' ? content.file : undefined
      const node = file && { 'file.node-name': diskFileNode(index + 1, file.layers) }
      return file && buildDriveOptions(file, index + 1, base, node)
    }),
  })
}

/**
 * Returns the arguments of the same disks with QEMU's temporary snapshots (`snapshot=on`) instead
 * of overlays.
 */
export function snapshotDiskArgs(spec: MachineSpec): string[] {
  const openBase = (base: Disk, index: number) =>
    buildDriveOptions({ ...base, secretFile: manualSecretFile(base) }, index, base, { snapshot: 'on' })
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

/** New disk in the manual command line: reads as zeros, and writes go to a temporary snapshot. */
const NULL_DISK = { 'file.driver': 'null-co', 'file.read-zeroes': 'on', format: 'raw', snapshot: 'on' }

type Disk = NonNullable<BaseImage['disk']>

/** Arguments of a drive: objects with its secrets, and the values of its `-drive`. */
interface DriveArgs {
  readonly secrets: readonly string[]
  readonly values: OptionValues
}

/**
 * Returns the drive for the file `base` or an overlay on it. Secrets are passed in files, because
 * every user of the host can read the command line.
 */
function buildDriveOptions(
  { path, format, secretFile: file, layers }: DiskFile,
  index: number,
  base: Disk | undefined,
  more: OptionValues = {},
): DriveArgs {
  const values = { file: path, format, ...more }
  if (base?.encryption === undefined || file === undefined) return { secrets: [], values }
  const id = `disk${index}-secret`
  const below = path === base.path ? '' : 'backing.'.repeat(1 + (layers?.files.length ?? 0))
  const key = `${below}${base.format === 'luks' ? '' : 'encrypt.'}key-secret`
  return { secrets: ['-object', joinOption('secret', { id, file })], values: { ...values, [key]: id } }
}

/** Returns the secret file for the manual command line: the author's file, or a placeholder. */
function manualSecretFile({ encryption }: Disk): string | undefined {
  if (encryption === undefined) return undefined
  return typeof encryption.secret === 'string' ? 'SECRET_FILE' : encryption.secret.file
}

function connectAll(
  spec: MachineSpec,
  {
    system,
    further,
  }: { readonly system: DriveArgs | undefined; readonly further: ReadonlyArray<DriveArgs | undefined> },
): string[] {
  const addresses = assignAddresses(spec, system !== undefined)
  return [
    ...addresses.controllers,
    ...(system === undefined || addresses.system === undefined
      ? []
      : buildDiskDevice(spec.systemDisk, 0, { address: addresses.system, arch: spec.arch }, system)),
    ...spec.disks.flatMap((disk, index) => {
      const address = addresses.further[index]
      return address === undefined
        ? []
        : buildDiskDevice(disk, index + 1, { address, arch: spec.arch }, further[index])
    }),
  ]
}

/**
 * Returns the id of a drive with removable media; undefined for other disks. Index 0 is the system
 * disk.
 */
export function mediumDeviceId(
  { media, interface: kind }: Pick<SystemDiskSpec, 'interface'> & Partial<Pick<DiskSpec, 'media'>>,
  index: number,
): string | undefined {
  return media === 'cdrom' || kind === 'floppy' ? `medium${index}` : undefined
}

/** Returns the arguments of a drive and its device. An empty drive has only the device. */
function buildDiskDevice(
  disk: SystemDiskSpec & Partial<Pick<DiskSpec, 'media' | 'isReadonly'>>,
  index: number,
  { address, arch }: { readonly address: DiskAddress; readonly arch: GuestArch },
  driveArgs: DriveArgs | undefined,
): string[] {
  const id = `disk${index}`
  const isCd = disk.media === 'cdrom'
  const medium = mediumDeviceId(disk, index)
  const device = deviceOf(disk, { drive: driveArgs && id, address, arch, isCd, id, medium })
  if (driveArgs === undefined) return device
  const drive = joinOption('', {
    ...(disk.interface === 'pflash' ? { if: 'pflash', unit: address.unit } : { id, if: 'none' }),
    ...driveArgs.values,
    media: isCd ? 'cdrom' : undefined,
    readonly: disk.isReadonly ? 'on' : undefined,
    cache: disk.cache,
    discard: disk.discard,
  })
  return [...driveArgs.secrets, '-drive', drive, ...device]
}

function deviceOf(
  disk: SystemDiskSpec,
  {
    drive,
    address,
    arch,
    isCd,
    id,
    medium,
  }: {
    readonly drive: string | undefined
    readonly address: DiskAddress
    readonly arch: GuestArch
    readonly isCd: boolean
    readonly id: string
    readonly medium: string | undefined
  },
): string[] {
  const { bus, unit } = address
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
      // The device has its own SCSI bus, named after its id. Without an id, its name would be that
      // of the SCSI disks: `scsi.0`.
      return device('usb-storage', { id: medium ?? `${id}-usb`, bus, drive, serial, bootindex })
    case 'nvme':
      // NVMe requires a serial number.
      return device('nvme', { drive, serial: serial ?? id, bootindex })
    case 'sd':
      return device('sd-card', { drive })
    case 'floppy':
      return [
        ...device('floppy', { id: medium, unit, drive }),
        // The boot index is a property of the controller.
        ...(bootindex === undefined
          ? []
          : ['-global', `isa-fdc.bootindex${unit === 0 ? 'A' : 'B'}=${bootindex}`]),
      ]
    case 'pflash': // part of the machine
      return []
  }
}
