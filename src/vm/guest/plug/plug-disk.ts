import type { HostUser } from '../../../common/process/host-user.js'
import { type MemorySize, parseMemorySize } from '../../../common/units.js'
import { createEmptyDisk, createOverlay } from '../../../disk/overlay.js'
import { vmError } from '../../../errors.js'
import { resolveImage } from '../../../image/resolve-image.js'
import type { DiskFormat } from '../../../spec/base-image.js'
import type { ImageSource } from '../../../spec/image-source.js'
import { diskNeeds, requireReach } from '../../machine/reach.js'

/** A disk to be plugged in. What the guest writes to it is thrown away, as with the disks that it has from the start. */
export interface PlugDiskOptions {
  /** What is on it: a path, or what the option `image` may be. @default nothing: it is new, of `size` */
  readonly image?: ImageSource
  /** The size of a new disk: MiB, or with a unit. @default the image's */
  readonly size?: MemorySize
  /** The format of the image at a path. @default found out by the content */
  readonly format?: DiskFormat
  /** What it is connected to; `usb` needs the option `usb` (QEMU: `device_add`). @default 'virtio' */
  readonly interface?: 'virtio' | 'scsi' | 'usb'
  /** Its serial number, as the guest reads it. @default none */
  readonly serial?: string
  /** Whether the guest can only read it. @default false */
  readonly readonly?: boolean
}

/** Makes what a disk is on: an overlay on its image, or a new file. As the user, where one is given. */
export async function makePluggedDisk(
  path: string,
  { image, size, format }: PlugDiskOptions,
  user: HostUser | undefined,
): Promise<void> {
  const bytes = parseMemorySize(size)
  if ((image === undefined) === (size === undefined) || (size !== undefined && bytes === undefined)) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'plug.disk() was not told what is on the disk.',
      expected: "one of `image` and `size`, as in { size: '1G' }",
      got: `image: ${JSON.stringify(image)}, size: ${JSON.stringify(size)}`,
      hint: 'give one of both.',
    })
  }
  if (bytes !== undefined) {
    await createEmptyDisk(path, bytes, user)
    return
  }
  const source = format !== undefined && typeof image === 'string' ? { path: image, format } : image
  const { disk } = await resolveImage(source as ImageSource)
  if (disk === undefined || disk.encryption !== undefined) {
    throw vmError('INVALID_OPTIONS', {
      summary: `plug.disk() cannot use this image: it ${disk === undefined ? 'has no disk' : 'is encrypted'}.`,
      hint: 'give it to the guest from the start, by the option `disks`.',
    })
  }
  if (user !== undefined) await requireReach(user, await diskNeeds(disk))
  await createOverlay({ base: disk, path, user })
}
