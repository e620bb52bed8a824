import { constants, open } from 'node:fs/promises'

/** Manifests, indexes and descriptors have a few kilobytes. */
const MOST_BYTES = 4 * 1024 ** 2

/**
 * Reads a small file that may be anything: a FIFO or a device is not waited for, and of a large file nothing is read.
 *
 * @throws {Error} when it cannot be read, is no regular file, or has more than 4 MiB.
 */
export async function readSmallFile(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > MOST_BYTES)
      throw new Error(`it has ${stats.size} bytes, and at most ${MOST_BYTES} are read`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}
