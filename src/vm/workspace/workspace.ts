import { rmdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpenFolder } from '../../common/files/open-folder.js'
import { removeTree, removeTreeSync } from '../../common/files/remove-tree.js'
import { keepTouched } from '../../common/locks/heartbeat.js'
import { LONGEST_FOLDER_NAME, newRunFolderName } from '../../common/locks/run-folder-name.js'
import type { HostUser } from '../../common/process/host-user.js'
import { vmError } from '../../errors.js'
import { forgetHandedOver, noteHandedOver } from './run-folder.js'

/**
 * Longest path of a unix socket: `sun_path` has 108 bytes including the final null byte (unix(7)).
 */
const MAX_SOCKET_PATH_BYTES = 107
const LONGEST_SOCKET_NAME = '/serial.sock'

/**
 * Private folder of one guest: overlay, logs, sockets, keys. No other user can read it. With
 * `runAs` it is given to that user, who can replace it with a link, so this process writes and
 * removes files only through the open folders.
 */
export interface Workspace {
  readonly dir: string
  /** Folder of the sockets: `dir`, or a folder with a shorter path. */
  readonly socketDir: string
  /** Open handle of `dir`. */
  readonly folder: OpenFolder
  /** Open handle of `socketDir`. */
  readonly sockets: OpenFolder
  path(name: string): string
  socket(name: string): string
  /**
   * Writes a file that no other user can read. Replaces an existing file and never follows a link.
   */
  write(name: string, content: string | Uint8Array): Promise<void>
  /**
   * Gives the folder and its content to that user. This process, which is root, keeps its access.
   */
  handOver(user: HostUser): Promise<void>
  /** Removes everything synchronously, for a process that is about to end. */
  removeSync(): void
  dispose(): Promise<void>
  /** Closes the folders and leaves them to the guest's keeper. */
  leave(): Promise<void>
}

/**
 * Creates the folder. Its name contains the identity of this process, so a sweep can tell whether
 * the run is alive.
 *
 * @param id end of the folder's name. @default random
 * @throws {InfrastructureError} WORKSPACE_FAILED when the folder cannot be created, NO_SPACE when
 *   the disk is full.
 */
export async function openWorkspace(base: string = tmpdir(), id?: string): Promise<Workspace> {
  const main = await openFolder(base, id)
  if (holdsSockets(main.open.path)) return workspace(main, main)
  try {
    return workspace(main, await openFolder(shortFolder()))
  } catch (error) {
    await main.dispose()
    throw error
  }
}

function holdsSockets(dir: string): boolean {
  return Buffer.byteLength(dir + LONGEST_SOCKET_NAME) <= MAX_SOCKET_PATH_BYTES
}

interface Folder {
  readonly open: OpenFolder
  dispose(): Promise<void>
  leave(): Promise<void>
}

async function openFolder(base: string, id?: string): Promise<Folder> {
  const { dirSync } = await import('tmp-promise')
  try {
    // Synchronous: a process that exits during an asynchronous call would leave the folder behind.
    const { name: dir } = dirSync({ tmpdir: base, name: newRunFolderName(id), mode: 0o700 })
    const open = openNew(dir)
    const heartbeat = keepTouched(() => open.touch())
    const leave = () => {
      heartbeat.stop()
      return open.close()
    }
    return {
      open,
      leave,
      dispose: async () => {
        await leave() // a file created during the removal would keep the folder from being removed
        await removeTree(dir)
        await forgetHandedOver(dir)
      },
    }
  } catch (error) {
    throw folderError(base, error)
  }
}

function openNew(dir: string): OpenFolder {
  try {
    return OpenFolder.open(dir)
  } catch (error) {
    rmdirSync(dir)
    throw error
  }
}

function workspace(main: Folder, short: Folder): Workspace {
  const folders = main === short ? [main] : [main, short]
  const { open: folder } = main
  const { open: sockets } = short
  return {
    dir: folder.path,
    socketDir: sockets.path,
    folder,
    sockets,
    path: (name) => join(folder.path, name),
    socket: (name) => join(sockets.path, name),
    write: (name, content) => folder.write(name, content),
    handOver: async (user) => {
      for (const { open } of folders) {
        await noteHandedOver(open.path)
        await open.changeOwner(user)
      }
    },
    removeSync: () => {
      for (const { open } of folders) removeTreeSync(open.path)
    },
    dispose: async () => {
      await Promise.all(folders.map((folder) => folder.dispose()))
    },
    leave: async () => {
      await Promise.all(folders.map((folder) => folder.leave()))
    },
  }
}

/** Returns a base folder for sockets whose path is short on every system. */
function shortFolder(): string {
  return '/tmp'
}

function folderError(base: string, error: unknown) {
  const { code, message } = error as NodeJS.ErrnoException
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  return vmError(isFull ? 'NO_SPACE' : 'WORKSPACE_FAILED', {
    summary: `The folder for the run could not be created in ${base}.`,
    got: message,
    hint: isFull
      ? 'Free some space there, or set the option `tmpdir` (or TMPDIR) to a folder with more space.'
      : 'Set the option `tmpdir` (or TMPDIR) to an existing folder that you can write to.',
    cause: error,
  })
}

/** Returns the folders in which a run with this `tmpdir` creates its own folders. */
export function listFolderBases(base: string): string[] {
  return holdsSockets(join(base, 'x'.repeat(LONGEST_FOLDER_NAME))) ? [base] : [base, shortFolder()]
}

/** Creates a folder chosen by the user, with its parents. */
export async function ensureFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
}
