import { constants, open } from 'node:fs/promises'
import { MIB } from '../common/units.js'

/** Maximum size of a manifest, index or descriptor, which usually have a few kilobytes. */
const MAX_BYTES = 4 * MIB

/**
 * Reads a small file of unknown origin: does not block on a FIFO or a device, and reads nothing of
 * a large file.
 *
 * @throws {Error} when it cannot be read, is not a regular file, or exceeds 4 MiB.
 */
export async function readSmallFile(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error('not a regular file')
    if (stats.size > MAX_BYTES) throw new Error(`${stats.size} bytes, more than ${MAX_BYTES}`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}
