import type { HostUser } from '../../../common/process/host-user.js'
import { type MemorySize, parseMemorySize } from '../../../common/units.js'
import { createEmptyDisk, createOverlay } from '../../../disk/overlay.js'
import { vmError } from '../../../errors.js'
import { resolveImage } from '../../../image/resolve-image.js'
import type { DiskFormat } from '../../../spec/base-image.js'
import type { ImageSource } from '../../../spec/image-source.js'
import { listDiskAccesses, requireFileAccess } from '../../machine/file-access.js'

/** Disk to plug in. Writes of the guest are discarded, as for disks that exist from the start. */
export interface PlugDiskOptions {
  /**
   * Content of the disk: a path, or any value of the option `image`.
   * @default a new, empty disk of `size`
   */
  readonly image?: ImageSource | undefined
  /** Size of a new disk: MiB, or with a unit. @default size of the image */
  readonly size?: MemorySize | undefined
  /** Format of the image, if `image` is a path. @default detected from the content */
  readonly format?: DiskFormat | undefined
  /**
   * Interface of the disk; `usb` requires the option `usb` (QEMU: `device_add`). @default 'virtio'
   */
  readonly interface?: 'virtio' | 'scsi' | 'usb' | undefined
  /** Serial number reported to the guest. @default none */
  readonly serial?: string | undefined
  /** If true, the disk is read-only for the guest. @default false */
  readonly readonly?: boolean | undefined
}

/**
 * Creates the file of a disk: an overlay on its image, or an empty disk. The file belongs to
 * `user`, if set.
 */
export async function makePluggedDisk(
  path: string,
  { image, size, format }: PlugDiskOptions,
  user: HostUser | undefined,
): Promise<void> {
  const bytes = parseMemorySize(size)
  if ((image === undefined) === (size === undefined) || (size !== undefined && bytes === undefined)) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'vm.plug.disk() needs the content of the disk.',
      expected: "either `image` or `size`, such as `{ size: '1G' }`",
      got: `image: ${JSON.stringify(image)}, size: ${JSON.stringify(size)}`,
      hint: 'Set either `image` or `size`.',
    })
  }
  if (bytes !== undefined) {
    await createEmptyDisk(path, bytes, user)
    return
  }
  const source = format !== undefined && typeof image === 'string' ? { path: image, format } : image
  const { disk } = await resolveImage(source as ImageSource, { detached: true })
  if (disk === undefined || disk.encryption !== undefined) {
    throw vmError('INVALID_OPTIONS', {
      summary: `vm.plug.disk() does not support this image: it ${disk === undefined ? 'has no disk' : 'is encrypted'}.`,
      hint: 'Add the image to the option `disks`, so that the guest has it from the start.',
    })
  }
  if (user !== undefined) await requireFileAccess(user, await listDiskAccesses(disk))
  await createOverlay({ base: disk, path, user })
}
