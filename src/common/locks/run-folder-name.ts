import { randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import { currentProcess, IDENTITY_PATTERN } from './process-identity.js'

const PREFIX = 'withvm-'
const NAME = new RegExp(`^${PREFIX}(${IDENTITY_PATTERN})-[0-9a-f]{6}$`)

/** Returns a random id for the folder of a run: six hexadecimal digits. */
export function newRunFolderId(): string {
  return randomBytes(3).toString('hex')
}

/**
 * Returns a new name for the folder of a run. It contains the identity of this process, so the name
 * alone shows whether the run is alive, and ends with an id.
 */
export function newRunFolderName(id = newRunFolderId()): string {
  return `${PREFIX}${currentProcess()}-${id}`
}

/**
 * Maximum length of the name of a run folder, bytes: the identity has three parts of at most 8, 7
 * and 12 characters.
 */
export const LONGEST_FOLDER_NAME = PREFIX.length + 29 + 7

/**
 * Returns the identity of the process that created a folder of that name; undefined if the name is
 * not that of a run's folder.
 */
export function ownerOfFolder(path: string): string | undefined {
  return NAME.exec(basename(path))?.[1]
}
