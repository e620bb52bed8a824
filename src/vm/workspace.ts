import { randomBytes } from 'node:crypto'
import { constants, rmSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { giveTo, type HostUser } from '../common/host-user.js'
import { findLockRealm, tryProcessLock } from '../common/process-lock.js'
import { vmError } from '../errors.js'

/** The longest path that a unix socket may have: `sun_path` has 108 bytes, one of them for the end (unix(7)). */
const SOCKET_PATH_MOST = 107
const LONGEST_SOCKET_NAME = '/serial.sock'
const PREFIX = 'withvm-'

/** A private folder for one guest: overlay, logs, sockets, keys. Nobody else may read it. */
export interface Workspace {
  readonly dir: string
  /** Where sockets live: `dir`, or a folder with a shorter path. */
  readonly socketDir: string
  path(name: string): string
  socket(name: string): string
  /** Writes a file that nobody else may read, in place of what is there: never to where a link leads. */
  write(name: string, content: string | Uint8Array): Promise<void>
  /** Opens a file to read it: never what a link leads to. */
  open(name: string): Promise<FileHandle>
  /** Makes the folder, and all that is in it, that user's. This process reaches it as before, for it is root's. */
  handOver(user: HostUser): Promise<void>
  /** Removes everything, at once and without waiting, for a process that is about to end. */
  removeSync(): void
  dispose(): Promise<void>
  /** Leaves everything to whoever holds the keeper's lock. */
  leave(): Promise<void>
}

/**
 * Makes the folder. Whoever holds the lock that is named after it owns it; one whose lock is free belongs
 * to a run that died.
 *
 * @throws {InfrastructureError} WORKSPACE_FAILED when no folder can be made, NO_SPACE when the disk is full.
 */
export async function openWorkspace(base: string = tmpdir()): Promise<Workspace> {
  const main = await openFolder(base)
  if (holdsSockets(main.dir)) return workspace(main, main)
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
  readonly dir: string
  dispose(): Promise<void>
  leave(): Promise<void>
}

async function openFolder(base: string): Promise<Folder> {
  const name = workspaceName(findLockRealm(), randomBytes(3).toString('hex'))
  const lock = await tryProcessLock(lockName(name))
  if (lock === undefined) return openFolder(base)
  const { dirSync } = await import('tmp-promise')
  try {
    // At once: a process that exits while a folder is being made would leave it.
    const { name: dir } = dirSync({ tmpdir: base, name, mode: 0o700 })
    return {
      dir,
      dispose: async () => {
        await rm(dir, { recursive: true, force: true })
        await lock.release()
      },
      leave: () => lock.release(),
    }
  } catch (error) {
    await lock.release()
    throw folderError(base, error)
  }
}

function workspace(main: Folder, sockets: Folder): Workspace {
  const folders = main === sockets ? [main] : [main, sockets]
  return {
    dir: main.dir,
    socketDir: sockets.dir,
    path: (name) => join(main.dir, name),
    socket: (name) => join(sockets.dir, name),
    write: async (name, content) => {
      const path = join(main.dir, name)
      await rm(path, { force: true })
      await writeFile(path, content, { mode: 0o600, flag: 'wx' })
    },
    open: (name) => open(join(main.dir, name), constants.O_RDONLY | constants.O_NOFOLLOW),
    handOver: async (user) => {
      for (const { dir } of folders) {
        const names = await readdir(dir, { recursive: true })
        await Promise.all(names.map((name) => giveTo(user, join(dir, name))))
        await giveTo(user, dir) // last: until then nobody else is in it
      }
    },
    removeSync: () => {
      for (const { dir } of folders) rmSync(dir, { recursive: true, force: true })
    },
    dispose: async () => {
      await Promise.all(folders.map((folder) => folder.dispose()))
    },
    leave: async () => {
      await Promise.all(folders.map((folder) => folder.leave()))
    },
  }
}

/** How folders of runs are called, by who sees whose locks. Without the last part: what all of their names begin with. */
export function workspaceName(realm: string, own = ''): string {
  return PREFIX + realm + own
}

function lockName(folderName: string): string {
  return `run-${folderName}`
}

/** The lock of the process that a guest may be left to: as good as that of the run. */
export function keeperLockName(folderName: string): string {
  return `keep-${folderName}`
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

/**
 * Removes the folders that dead runs have left below `base`, and kills a QEMU of theirs that still runs.
 * Another run's, and those of guests that were left running, are told by their locks, another user's by what the file system refuses. Never rejects: what
 * cannot be swept must not keep a guest from starting.
 */
export async function sweepDeadWorkspaces(base: string = tmpdir()): Promise<void> {
  const longest = join(base, PREFIX + '0'.repeat(12))
  const bases = holdsSockets(longest) ? [base] : [base, shortFolder()]
  for (const folder of bases) await sweepFolder(folder).catch(() => {})
}

async function sweepFolder(base: string): Promise<void> {
  const pattern = new RegExp(`^${PREFIX}${findLockRealm()}[0-9a-f]{6}$`)
  for (const name of await readdir(base)) {
    if (!pattern.test(name)) continue
    const lock = await tryProcessLock(lockName(name))
    if (lock === undefined) continue
    const keeperLock = await tryProcessLock(keeperLockName(name))
    if (keeperLock !== undefined) {
      const dir = join(base, name)
      await killOrphan(dir)
      await rm(dir, { recursive: true, force: true }).catch(() => {})
      await keeperLock.release()
    }
    await lock.release()
  }
}

/** Notes the process that works in the folder, for a sweep by a later run. */
export const PID_FILE = 'qemu.pid'

async function killOrphan(dir: string): Promise<void> {
  const pid = Number(await readFile(join(dir, PID_FILE), 'utf8').catch(() => ''))
  if (!Number.isInteger(pid) || pid <= 1) return
  // A process id is used again: only one whose command line names the folder is the one that was noted.
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  if (!commandLine.includes(dir)) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in between.
  }
}

/** Makes a folder of the author's choice, with its parents. */
export async function ensureFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
}
