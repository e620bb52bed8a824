import { vmError } from '../errors.js'
import { resolveImage } from '../image/resolve-image.js'
import { resolveArch } from '../spec/architectures.js'
import { listDisks, readDiskSource } from '../spec/list-disks.js'
import type { VMOptions } from '../spec/options.js'
import type { DiskFiles } from '../spec/resolve/resolve-disks.js'

/** Opens the images of the disks besides the system disk, in order. */
export async function openDisks(options: VMOptions): Promise<DiskFiles> {
  const { signal } = options
  const arch = resolveArch(options.arch)
  const opening = listDisks(options).map(async ({ path, disk }) => {
    const source = readDiskSource(disk)
    if (source === undefined) return undefined
    const image = await resolveImage(source, { arch, signal, detached: true })
    if (image.disk !== undefined) return image.disk
    throw vmError('IMAGE_INVALID', {
      summary: `The image '${image.name}' of \`${path}\` has no disk.`,
      hint: 'Specify the path of a disk image.',
    })
  })
  return Promise.all(opening)
}
