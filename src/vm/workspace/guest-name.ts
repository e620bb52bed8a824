import { newRunFolderId } from '../../common/locks/run-folder-name.js'

const ID_LENGTH = 6

/**
 * Returns a name for a new guest that is unique on this host: its option `name` and the id of its
 * run folder, such as `web-9dde26`.
 */
export function newGuestName(guest: string): string {
  return nameGuest(guest, newRunFolderId())
}

/** Returns the unique name of the guest with this run folder. */
export function guestNameOf(guest: string, runFolder: string): string {
  return nameGuest(guest, runFolderIdOf(runFolder))
}

/** Returns the id at the end of a unique name, which is that of the guest's run folder. */
export function runFolderIdOf(name: string): string {
  return name.slice(-ID_LENGTH)
}

function nameGuest(guest: string, id: string): string {
  return `${guest}-${id}`
}
