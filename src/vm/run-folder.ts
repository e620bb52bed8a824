import { lstat, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { readSmallFile } from '../common/files/read-small-file.js'
import { type Liveness, livenessOf, processScope } from '../common/locks/process-identity.js'
import { ownerOfFolder } from '../common/locks/run-folder-name.js'
import { openRuntimeDir } from '../common/locks/runtime-dir.js'

/** In a folder whose guest may be left running: the identity of the process that then owns it. */
export const KEEPER_FILE = 'keeper'
/** In the folder of a kept guest. */
export const KEPT_FILE = 'kept.json'
/** Notes the QEMU that works in the folder, for a sweep by a later run. */
export const PID_FILE = 'qemu.pid'

/** Returns whether the folder is of a run whose processes can be seen from here. */
export function isInScope(path: string): boolean {
  return ownerOfFolder(path)?.startsWith(`${processScope()}.`) ?? false
}

/** Returns whether a path is a real folder of one of the users, closed to all others. Anybody can make a folder of such a name in `/tmp`. */
export async function isPrivateFolder(path: string, uids: readonly number[]): Promise<boolean> {
  const stat = await lstat(path).catch(() => undefined)
  return stat?.isDirectory() === true && uids.includes(stat.uid) && (stat.mode & 0o777) === 0o700
}

/** Returns whether the keeper of a folder is alive; `dead` where there is none. */
export async function readKeeperLiveness(dir: string): Promise<Liveness> {
  const identity = await readSmallFile(join(dir, KEEPER_FILE), 64)
  return identity === undefined ? 'dead' : livenessOf(identity)
}

const PATH_MOST_BYTES = 4096

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

/** Forgets a folder that is gone. */
export async function forgetHandedOver(dir: string): Promise<void> {
  const note = noteOf(dir)
  if (note !== undefined) await rm(note, { force: true })
}

function noteOf(dir: string): string | undefined {
  const folder = openRuntimeDir('handed-over')
  return folder && join(folder, basename(dir))
}
