import { unlink } from 'node:fs/promises'

/**
 * Removes a file, or a link itself, if there is one. `rm()` of Node.js removes a folder with its content, also through a link, where another
 * user puts that in place of the file in between.
 */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
