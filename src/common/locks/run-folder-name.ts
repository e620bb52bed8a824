import { randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import { currentProcess, IDENTITY_PATTERN } from './process-identity.js'

const PREFIX = 'withvm-'
const NAME = new RegExp(`^${PREFIX}(${IDENTITY_PATTERN})-[0-9a-f]{6}$`)

/** Returns a new name for the folder of a run. It has the identity of this process, so that it says itself whether its run is alive. */
export function newRunFolderName(): string {
  return `${PREFIX}${currentProcess()}-${randomBytes(3).toString('hex')}`
}

/** The most bytes that the name of such a folder has: the identity has three parts of at most 8, 7 and 12 characters. */
export const LONGEST_FOLDER_NAME = PREFIX.length + 29 + 7

/** Returns the identity of the process that made a folder of that name; undefined for what is no run's folder. */
export function ownerOfFolder(path: string): string | undefined {
  return NAME.exec(basename(path))?.[1]
}
