import { parseMemorySize } from '../../common/units.js'
import { describeArch, type GuestArch } from '../architectures.js'
import type { BaseImage } from '../base-image.js'
import { DEFAULTS } from '../defaults.js'
import type { DiskContent, DiskSpec, SystemDiskSpec } from '../disk-spec.js'
import type { ListedDisk } from '../list-disks.js'
import type { DiskConnection, DiskOptions } from '../options/disks.js'

/** Host files of the additional disks, in the order of the disks. */
export type DiskFiles = ReadonlyArray<BaseImage['disk']>

export function resolveConnection(connection: DiskConnection, arch: GuestArch): SystemDiskSpec {
  return {
    interface: connection.interface ?? describeArch(arch).disks[0] ?? 'virtio',
    index: connection.index,
    serial: connection.serial,
    bootIndex: connection.bootIndex,
    cache: connection.cache,
    discard: connection.discard ?? DEFAULTS.diskDiscard,
  }
}

export function resolveDisks(
  requested: readonly ListedDisk[],
  files: DiskFiles,
  arch: GuestArch,
): DiskSpec[] {
  return requested.map(({ disk }, index) => {
    const media = disk.media ?? 'disk'
    const isCd = media === 'cdrom'
    return {
      ...resolveConnection(
        { ...disk, interface: disk.interface ?? (isCd ? describeArch(arch).cd : undefined) },
        arch,
      ),
      content: resolveContent(disk, files[index]),
      media,
      isReadonly: isCd || disk.readonly === true,
      isWrittenDirectly: disk.snapshot === false,
    }
  })
}

function resolveContent({ size }: DiskOptions, file: BaseImage['disk']): DiskContent {
  if (file !== undefined) return { kind: 'image', file }
  const bytes = parseMemorySize(size)
  return bytes === undefined ? { kind: 'empty' } : { kind: 'new', bytes }
}
