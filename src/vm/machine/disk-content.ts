import { stat } from 'node:fs/promises'
import { MIB } from '../../common/units.js'
import { openDisk } from '../../disk/backing-chain.js'
import type { BaseImage } from '../../spec/base-image.js'

type DiskImage = NonNullable<BaseImage['disk']>

/**
 * Maximum size of an image that a template contains as a whole, in bytes. The template then depends
 * on its content only: a test may write the same image to another file each time.
 */
const MAX_COPIED_BYTES = 64 * MIB

/** Returns the paths of an image and its backing files. A raw image has none. */
export async function listImageFiles({ path, format }: DiskImage): Promise<string[]> {
  if (format === 'raw') return [path]
  const { chain } = await openDisk({ path, format, backingFolders: ['/'] })
  return chain.map((file) => file.path)
}

/**
 * Returns true if a template contains a copy of the image. If false, the disk of the template is an
 * overlay on the image.
 */
export async function isCopiedToTemplate({ path, format }: DiskImage): Promise<boolean> {
  return format === 'raw' && (await stat(path)).size <= MAX_COPIED_BYTES
}
