import type { BigIntStats, Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { vmError } from '../errors.js'

/** A file below a folder. */
export interface ListedFile {
  readonly entry: Dirent
  /** Path from the folder on. */
  readonly path: string
  readonly file: string
  readonly stats: BigIntStats
}

/**
 * Yields all that is below a folder; links are not followed.
 *
 * @throws {UsageError} IMAGE_INVALID when a name is not UTF-8: this process could not open that file.
 */
export async function* listFolder(dir: string): AsyncGenerator<ListedFile> {
  try {
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name)
      yield { entry, file, path: relative(dir, file), stats: await lstat(file, { bigint: true }) }
    }
  } catch (error) {
    const { code, path = '' } = error as NodeJS.ErrnoException
    // Node.js replaces bytes that are not UTF-8 by this character; a file of that name is then not there.
    if (code !== 'ENOENT' || !path.includes('\ufffd')) throw error
    throw vmError('IMAGE_INVALID', {
      summary: 'A file of the root file system has a name that cannot be read.',
      expected: 'names in UTF-8',
      got: JSON.stringify(path),
      hint: 'Rename the file, or leave it out.',
      cause: error,
    })
  }
}
