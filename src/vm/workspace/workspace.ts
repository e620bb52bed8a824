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

/** The longest path that a unix socket may have: `sun_path` has 108 bytes, one of them for the end (unix(7)). */
const SOCKET_PATH_MOST = 107
const LONGEST_SOCKET_NAME = '/serial.sock'

/**
 * A private folder for one guest: overlay, logs, sockets, keys. Nobody else may read it. The user of `runAs`, to whom it is given, can put a
 * link in its place: from then on this process writes and removes in the open folders alone.
 */
export interface Workspace {
  readonly dir: string
  /** Where sockets live: `dir`, or a folder with a shorter path. */
  readonly socketDir: string
  /** `dir`, open. */
  readonly folder: OpenFolder
  /** `socketDir`, open. */
  readonly sockets: OpenFolder
  path(name: string): string
  socket(name: string): string
  /** Writes a file that nobody else may read, in place of what is there: never to where a link leads. */
  write(name: string, content: string | Uint8Array): Promise<void>
  /** Makes the folder, and all that is in it, that user's. This process reaches it as before, for it is root's. */
  handOver(user: HostUser): Promise<void>
  /** Removes everything, at once and without waiting, for a process that is about to end. */
  removeSync(): void
  dispose(): Promise<void>
  /** Leaves everything to the guest's keeper. */
  leave(): Promise<void>
}

/**
 * Makes the folder. It is named after this process: a folder whose process has ended belongs to a run that died.
 *
 * @throws {InfrastructureError} WORKSPACE_FAILED when no folder can be made, NO_SPACE when the disk is full.
 */
export async function openWorkspace(base: string = tmpdir()): Promise<Workspace> {
  const main = await openFolder(base)
  if (holdsSockets(main.open.path)) return workspace(main, main)
  try {
    return workspace(main, await openFolder(shortFolder()))
  } catch (error) {
    await main.dispose()
    throw error
  }
}

function holdsSockets(dir: string): boolean {
  return Buffer.byteLength(dir + LONGEST_SOCKET_NAME) <= SOCKET_PATH_MOST
}

interface Folder {
  readonly open: OpenFolder
  dispose(): Promise<void>
  leave(): Promise<void>
}

async function openFolder(base: string): Promise<Folder> {
  const { dirSync } = await import('tmp-promise')
  try {
    // At once: a process that exits while a folder is being made would leave it.
    const { name: dir } = dirSync({ tmpdir: base, name: newRunFolderName(), mode: 0o700 })
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
        await leave() // a file that is created while the folder is removed would keep it
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
        await open.giveTo(user)
      }
    },
    removeSync: () => {
      for (const { open } of folders) removeTreeSync(open.path)
    },
    dispose: async () => {
      await Promise.all(folders.map((one) => one.dispose()))
    },
    leave: async () => {
      await Promise.all(folders.map((one) => one.leave()))
    },
  }
}

/** A folder whose path is short on every system, for sockets alone. */
function shortFolder(): string {
  return '/tmp'
}

function folderError(base: string, error: unknown) {
  const { code, message } = error as NodeJS.ErrnoException
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return vmError(full ? 'NO_SPACE' : 'WORKSPACE_FAILED', {
    summary: `No folder for the run could be made in ${base}.`,
    got: message,
    hint: full
      ? 'free some space there, or point the option `tmpdir` (or TMPDIR) at a folder with more.'
      : 'point the option `tmpdir` (or TMPDIR) at a folder that exists and that you may write to.',
    cause: error,
  })
}

/** Returns the folders in which a run with this `tmpdir` makes its own. */
export function listFolderBases(base: string): string[] {
  return holdsSockets(join(base, 'x'.repeat(LONGEST_FOLDER_NAME))) ? [base] : [base, shortFolder()]
}

/** Makes a folder of the author's choice, with its parents. */
export async function ensureFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
}
