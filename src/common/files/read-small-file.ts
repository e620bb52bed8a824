import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** Initial buffer size: most files read this way are smaller, whatever their limit. */
const FIRST_BYTES = 4096

/** Error codes of a path without a regular file: nothing, a link, a socket. */
const NO_FILE = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ESRCH']

/**
 * Reads a file that another user or the guest may have created. Does not follow a link, does not
 * block on a FIFO or device, and reads at most `maxBytes`. Returns undefined if the path is not a
 * regular file within that size, or cannot be read.
 */
export async function readSmallFile(path: string, maxBytes: number): Promise<string | undefined> {
  return tryReadSmallFile(path, maxBytes).catch(() => undefined)
}

/**
 * Reads a file like {@link readSmallFile}. Undefined means that the file does not exist.
 *
 * @throws {NodeJS.ErrnoException} when the file may exist: without permission, or with too many
 *   open files.
 */
export async function tryReadSmallFile(path: string, maxBytes: number): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  let file: FileHandle | undefined
  try {
    file = await open(path, flags)
    return (await file.stat()).isFile() ? await readAll(file, maxBytes) : undefined
  } catch (error) {
    if (NO_FILE.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  } finally {
    await file?.close()
  }
}

/** Ignores the reported size: it is 0 for files in /proc, and other files may grow. */
async function readAll(file: FileHandle, maxBytes: number): Promise<string | undefined> {
  let buffer = Buffer.alloc(Math.min(FIRST_BYTES, maxBytes + 1))
  let length = 0
  while (length <= maxBytes) {
    if (length === buffer.length) {
      buffer = Buffer.concat([buffer], Math.min(2 * length, maxBytes + 1))
    }
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
    if (bytesRead === 0) return buffer.toString('utf8', 0, length)
    length += bytesRead
  }
  return undefined
}
