import { unlink } from 'node:fs/promises'

/**
 * Removes a file if it exists; of a link, only the link itself. `rm()` of Node.js would remove a
 * folder with its content, even through a link that another user puts in place of the file.
 */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
