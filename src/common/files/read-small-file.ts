import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** Most files that are read so have less: nothing larger is allocated for them, whatever they may have. */
const FIRST_BYTES = 4096

/** Errors of a path at which there is no regular file: nothing, a link, a socket. */
const NO_FILE = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ESRCH']

/**
 * Reads a file that another user or the guest may have made. A link is not followed, a FIFO or device is not waited for, and no more
 * than `mostBytes` are read. Undefined for everything that is not a regular file within that size, and for one that cannot be read.
 */
export async function readSmallFile(path: string, mostBytes: number): Promise<string | undefined> {
  return tryReadSmallFile(path, mostBytes).catch(() => undefined)
}

/**
 * Reads a file as {@link readSmallFile} does. Undefined means that there is no such file.
 *
 * @throws {NodeJS.ErrnoException} when there may be one: without permission, or with too many open files.
 */
export async function tryReadSmallFile(path: string, mostBytes: number): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  let file: FileHandle | undefined
  try {
    file = await open(path, flags)
    return (await file.stat()).isFile() ? await readAll(file, mostBytes) : undefined
  } catch (error) {
    if (NO_FILE.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  } finally {
    await file?.close()
  }
}

/** Goes by what is read: the size of a file in /proc is 0, and another may grow meanwhile. */
async function readAll(file: FileHandle, mostBytes: number): Promise<string | undefined> {
  let buffer = Buffer.alloc(Math.min(FIRST_BYTES, mostBytes + 1))
  let length = 0
  while (length <= mostBytes) {
    if (length === buffer.length) {
      buffer = Buffer.concat([buffer], Math.min(2 * length, mostBytes + 1))
    }
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
    if (bytesRead === 0) return buffer.toString('utf8', 0, length)
    length += bytesRead
  }
  return undefined
}
