import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/**
 * Reads a file that another user or the guest may have made. A link is not followed, a FIFO or device is not waited for, and no more
 * than `mostBytes` are read. Undefined for everything that is not a regular file within that size.
 */
export async function readSmallFile(path: string, mostBytes: number): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch(() => undefined)
  if (file === undefined) return undefined
  try {
    if (!(await file.stat()).isFile()) return undefined
    // By what is read: the size of a file in /proc is 0, and another may grow meanwhile.
    const buffer = Buffer.alloc(mostBytes + 1)
    let length = 0
    while (length <= mostBytes) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
      if (bytesRead === 0) return buffer.toString('utf8', 0, length)
      length += bytesRead
    }
    return undefined
  } catch {
    return undefined
  } finally {
    await file.close()
  }
}
