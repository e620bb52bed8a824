import type { BaseImage } from '../../spec/base-image.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption, type OptionValues } from './join-option.js'

/** The name by which QEMU's monitor knows the system's disk. */
export const DISK_NODE = 'disk0-overlay'
const SECRET_ID = 'disk0-secret'

/** The system's disk: the overlay of this run, on the image. */
export function systemDiskArgs(
  { image }: MachineSpec,
  { overlay, diskSecretFile }: Pick<Wiring, 'overlay' | 'diskSecretFile'>,
): string[] {
  if (overlay === undefined) return []
  return [
    ...secretArgs(diskSecretFile),
    ...diskArgs({
      file: overlay,
      format: 'qcow2',
      'node-name': DISK_NODE,
      ...keyOption(image?.disk, 'backing.'),
    }),
  ]
}

/** The system's disk without an overlay of ours: QEMU makes a snapshot of its own, and drops it. */
export function snapshotDiskArgs({ image }: MachineSpec): string[] {
  const disk = image?.disk
  if (disk === undefined) return []
  return [
    ...secretArgs(secretByHand(disk)),
    ...diskArgs({ file: disk.path, format: disk.format, snapshot: 'on', ...keyOption(disk, '') }),
  ]
}

type Disk = BaseImage['disk']

/** A secret comes in a file: what stands in the command line, every user of the host can read. */
function secretArgs(file: string | undefined): string[] {
  return file === undefined ? [] : ['-object', joinOption('secret', { id: SECRET_ID, file })]
}

function keyOption(disk: Disk, prefix: 'backing.' | ''): Record<string, string> {
  if (disk?.encryption === undefined) return {}
  return { [`${prefix}${disk.format === 'luks' ? '' : 'encrypt.'}key-secret`]: SECRET_ID }
}

/** The person who types the command has the secret: where it was not in a file, it has to be put in one. */
function secretByHand(disk: Disk): string | undefined {
  if (disk?.encryption === undefined) return undefined
  const { secret } = disk.encryption
  return typeof secret === 'string' ? 'SECRET_FILE' : secret.file
}

function diskArgs(disk: OptionValues): string[] {
  return [
    '-drive',
    joinOption('', { id: 'disk0', if: 'none', ...disk, discard: 'unmap' }),
    '-device',
    'virtio-blk-pci,drive=disk0',
  ]
}
