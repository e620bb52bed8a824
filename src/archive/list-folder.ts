import type { BigIntStats, Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { vmError } from '../errors.js'

/** Entry below a folder. */
export interface ListedFile {
  readonly entry: Dirent
  /** Path relative to the folder. */
  readonly path: string
  readonly file: string
  readonly stats: BigIntStats
}

/**
 * Yields all entries below a folder without following links.
 *
 * @throws {UsageError} IMAGE_INVALID when a name is not UTF-8: this process could not open that
 *   file.
 */
export async function* listFolder(dir: string): AsyncGenerator<ListedFile> {
  try {
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name)
      yield { entry, file, path: relative(dir, file), stats: await lstat(file, { bigint: true }) }
    }
  } catch (error) {
    const { code, path = '' } = error as NodeJS.ErrnoException
    // Node.js replaces bytes that are not UTF-8 with this character, and then does not find the
    // file.
    if (code !== 'ENOENT' || !path.includes('\ufffd')) throw error
    throw vmError('IMAGE_INVALID', {
      summary: 'The root file system has a file whose name is not UTF-8.',
      expected: 'names in UTF-8',
      got: JSON.stringify(path),
      hint: 'Rename or remove the file.',
      cause: error,
    })
  }
}
