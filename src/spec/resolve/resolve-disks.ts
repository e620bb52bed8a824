import { parseMemorySize } from '../../common/units.js'
import { describeArch, type GuestArch } from '../architectures.js'
import type { BaseImage } from '../base-image.js'
import { DEFAULTS } from '../defaults.js'
import type { DiskContent, DiskSpec, SystemDiskSpec } from '../disk-spec.js'
import type { ListedDisk } from '../list-disks.js'
import type { DiskConnection, DiskOptions } from '../options/disks.js'

/** The disks of this host that were found for the disks that were asked for, in their order. */
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

export function resolveDisks(listed: readonly ListedDisk[], files: DiskFiles, arch: GuestArch): DiskSpec[] {
  return listed.map(({ disk }, index) => {
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
      isWrittenThrough: disk.snapshot === false,
    }
  })
}

function resolveContent({ size }: DiskOptions, file: BaseImage['disk']): DiskContent {
  if (file !== undefined) return { kind: 'image', file }
  const bytes = parseMemorySize(size)
  return bytes === undefined ? { kind: 'empty' } : { kind: 'new', bytes }
}
