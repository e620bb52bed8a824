import { lstat, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, isAbsolute, join, resolve } from 'node:path'
import { readSmallFile, tryReadSmallFile } from '../../common/files/read-small-file.js'
import { type Liveness, livenessOf, processScope } from '../../common/locks/process-identity.js'
import { ownerOfFolder } from '../../common/locks/run-folder-name.js'
import { openRuntimeDir } from '../../common/locks/runtime-dir.js'

/** In a folder whose guest may be left running: the identity of the process that then owns it. */
export const KEEPER_FILE = 'keeper'
/** In the folder of a kept guest. */
export const KEPT_FILE = 'kept.json'
/** Notes the QEMU that works in the folder, for a sweep by a later run. */
export const PID_FILE = 'qemu.pid'

/** The longest path of Linux, with the process id in front of it in one of the files. */
const PATH_MOST_BYTES = 4096 + 16

/** Returns whether the folder is of a run whose processes can be seen from here. */
export function isInScope(path: string): boolean {
  return ownerOfFolder(path)?.startsWith(`${processScope()}.`) ?? false
}

/** Returns whether a path is a real folder of one of the users, closed to all others. Anybody can make a folder of such a name in `/tmp`. */
export async function isPrivateFolder(path: string, uids: readonly number[]): Promise<boolean> {
  const stat = await lstat(path).catch(() => undefined)
  return stat?.isDirectory() === true && uids.includes(stat.uid) && (stat.mode & 0o777) === 0o700
}

/** Returns whether the keeper of a folder is alive: `dead` where there is none, `unknown` where that cannot be read. */
export async function readKeeperLiveness(dir: string): Promise<Liveness> {
  try {
    const identity = await tryReadSmallFile(join(dir, KEEPER_FILE), 64)
    return identity === undefined ? 'dead' : livenessOf(identity)
  } catch {
    return 'unknown'
  }
}

/** Returns the content of `qemu.pid`: the process id of QEMU, and the folder of its sockets if that is another one. */
export function formatQemuNote(pid: number, { dir, socketDir }: { dir: string; socketDir: string }): string {
  return dir === socketDir ? `${pid}` : `${pid}\n${socketDir}`
}

/**
 * Reads the note about the QEMU of a folder. With `runAs`, a compromised QEMU can write the note: it can name no folder but one of the
 * same run.
 */
export async function readQemuNote(
  dir: string,
): Promise<{ readonly pid: number; readonly socketDir: string } | undefined> {
  const text = await readSmallFile(join(dir, PID_FILE), PATH_MOST_BYTES)
  const [, pid, socketDir = dir] = /^(\d{1,10})(?:\n(\/[^\n\0]+))?$/.exec(text ?? '') ?? []
  if (!(Number(pid) > 1)) return undefined
  const isSameRun = resolve(socketDir) === socketDir && ownerOfFolder(socketDir) === ownerOfFolder(dir)
  return { pid: Number(pid), socketDir: isSameRun ? socketDir : dir }
}

/**
 * Notes, where only root can, that root gave a run's folder to the user of `runAs`: that user can make folders that look the same.
 */
export async function noteHandedOver(dir: string): Promise<void> {
  const note = noteOf(dir)
  if (note !== undefined) await writeFile(note, dir, { mode: 0o600 })
}

/** Returns whether this user gave the folder to another user. */
export async function isHandedOver(dir: string): Promise<boolean> {
  const note = noteOf(dir)
  return note !== undefined && (await readSmallFile(note, PATH_MOST_BYTES)) === dir
}

/** Forgets the folders that are gone, as when a temporary directory was emptied, but none of a run that may be alive. */
export async function forgetLostFolders(): Promise<void> {
  const folder = openRuntimeDir('handed-over')
  if (folder === undefined) return
  for (const name of await readdir(folder)) {
    const owner = ownerOfFolder(name)
    // The folders of another container may only not be visible from here.
    if (owner === undefined || livenessOf(owner) !== 'dead') continue
    const dir = await readSmallFile(join(folder, name), PATH_MOST_BYTES)
    if (dir === undefined || !isAbsolute(dir)) continue
    const isLost = await lstat(dir).then(
      () => false,
      ({ code }: NodeJS.ErrnoException) => code === 'ENOENT',
    )
    if (isLost) await rm(join(folder, name), { force: true })
  }
}

/** Forgets a folder that is gone. */
export async function forgetHandedOver(dir: string): Promise<void> {
  const note = noteOf(dir)
  if (note !== undefined) await rm(note, { force: true })
}

function noteOf(dir: string): string | undefined {
  const folder = openRuntimeDir('handed-over')
  return folder && join(folder, basename(dir))
}
