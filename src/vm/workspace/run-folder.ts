import { lstat, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, isAbsolute, join, resolve } from 'node:path'
import { readSmallFile, tryReadSmallFile } from '../../common/files/read-small-file.js'
import { type Liveness, livenessOf, processScope } from '../../common/locks/process-identity.js'
import { ownerOfFolder } from '../../common/locks/run-folder-name.js'
import { openRuntimeDir } from '../../common/locks/runtime-dir.js'

/**
 * File in a run's folder that contains the identity of the keeper, which owns the folder if the
 * guest is left running.
 */
export const KEEPER_FILE = 'keeper'
/** File in the folder of a kept guest that contains its `KeptRecord`. */
export const KEPT_FILE = 'kept.json'
/** File that contains the process id of the folder's QEMU, for the sweep by a later run. */
export const PID_FILE = 'qemu.pid'

/** Longest path on Linux (PATH_MAX) plus the process id before it in `qemu.pid`. */
const MAX_NOTE_BYTES = 4096 + 16

/**
 * Returns true if the folder belongs to a run whose processes are visible from this PID namespace.
 */
export function isInScope(path: string): boolean {
  return ownerOfFolder(path)?.startsWith(`${processScope()}.`) ?? false
}

/**
 * Returns true if a path is a real folder of mode 0700 that belongs to one of the users. Any user
 * can create a folder with the name of a run folder in `/tmp`.
 */
export async function isPrivateFolder(path: string, uids: readonly number[]): Promise<boolean> {
  const stat = await lstat(path).catch(() => undefined)
  return stat?.isDirectory() === true && uids.includes(stat.uid) && (stat.mode & 0o777) === 0o700
}

/**
 * Returns the liveness of a folder's keeper: `dead` if the folder has no keeper, `unknown` if that
 * cannot be determined.
 */
export async function readKeeperLiveness(dir: string): Promise<Liveness> {
  try {
    const identity = await tryReadSmallFile(join(dir, KEEPER_FILE), 64)
    return identity === undefined ? 'dead' : livenessOf(identity)
  } catch {
    return 'unknown'
  }
}

/**
 * Returns the content of `qemu.pid`: the process id of QEMU, and the folder of its sockets if it
 * differs.
 */
export function formatQemuNote(pid: number, { dir, socketDir }: { dir: string; socketDir: string }): string {
  return dir === socketDir ? `${pid}` : `${pid}\n${socketDir}`
}

/**
 * Reads `qemu.pid`. With `runAs`, a compromised QEMU can write this file, so a folder of sockets is
 * accepted only if it belongs to the same run.
 */
export async function readQemuNote(
  dir: string,
): Promise<{ readonly pid: number; readonly socketDir: string } | undefined> {
  const text = await readSmallFile(join(dir, PID_FILE), MAX_NOTE_BYTES)
  const [, pid, socketDir = dir] = /^(\d{1,10})(?:\n(\/[^\n\0]+))?$/.exec(text ?? '') ?? []
  if (!(Number(pid) > 1)) return undefined
  const isSameRun = resolve(socketDir) === socketDir && ownerOfFolder(socketDir) === ownerOfFolder(dir)
  return { pid: Number(pid), socketDir: isSameRun ? socketDir : dir }
}

/**
 * Records that root gave a run's folder to the user of `runAs`. The record is in a folder of root,
 * because that user could create a folder that looks the same.
 */
export async function noteHandedOver(dir: string): Promise<void> {
  const record = handOverRecord(dir)
  if (record !== undefined) await writeFile(record, dir, { mode: 0o600 })
}

/** Returns true if this user gave the folder to another user. */
export async function isHandedOver(dir: string): Promise<boolean> {
  const record = handOverRecord(dir)
  return record !== undefined && (await readSmallFile(record, MAX_NOTE_BYTES)) === dir
}

/** Returns the names of the folders that this user gave to another user. */
export async function listHandedOver(): Promise<ReadonlySet<string>> {
  const folder = openRuntimeDir('handed-over')
  return new Set(folder === undefined ? [] : await readdir(folder))
}

/**
 * Removes the records of folders that no longer exist, for example because a temporary directory
 * was emptied. Records of runs that may be alive are kept.
 */
export async function forgetLostFolders(): Promise<void> {
  const folder = openRuntimeDir('handed-over')
  if (folder === undefined) return
  for (const name of await readdir(folder)) {
    const owner = ownerOfFolder(name)
    // Folders of another container may exist but be invisible from here.
    if (owner === undefined || livenessOf(owner) !== 'dead') continue
    const dir = await readSmallFile(join(folder, name), MAX_NOTE_BYTES)
    if (dir === undefined || !isAbsolute(dir)) continue
    const isLost = await lstat(dir).then(
      () => false,
      ({ code }: NodeJS.ErrnoException) => code === 'ENOENT',
    )
    if (isLost) await rm(join(folder, name), { force: true })
  }
}

/** Removes the record of a folder that no longer exists. */
export async function forgetHandedOver(dir: string): Promise<void> {
  const record = handOverRecord(dir)
  if (record !== undefined) await rm(record, { force: true })
}

function handOverRecord(dir: string): string | undefined {
  const folder = openRuntimeDir('handed-over')
  return folder && join(folder, basename(dir))
}
