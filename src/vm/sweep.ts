import { lstat, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readSmallFile } from '../common/files/read-small-file.js'
import { removeTree } from '../common/files/remove-tree.js'
import type { HostUser } from '../common/host-user.js'
import { type Liveness, livenessOf } from '../common/locks/process-identity.js'
import { ownerOfFolder } from '../common/locks/run-folder-name.js'
import { endQemu, worksIn } from './qemu-of-folder.js'
import {
  forgetHandedOver,
  isHandedOver,
  isPrivateFolder,
  PID_FILE,
  readKeeperLiveness,
} from './run-folder.js'
import { listFolderBases } from './workspace.js'

/**
 * For how long a run of another host or container counts as alive without touching its folder, milliseconds. Runs touch their folders
 * every 15 s; after a boot of this host its earlier runs are such runs too.
 */
const FOREIGN_RUN_MS = 24 * 60 * 60_000

/**
 * Removes the folders that dead runs have left below `base`, and kills a QEMU of theirs that still runs. Only real folders of mode 0700
 * that belong to this user, to the user of `runAs`, or to a user to whom this one gave them, are touched. Never rejects: what cannot be swept must not keep a guest from starting.
 */
export async function sweepDeadWorkspaces(base: string = tmpdir(), user?: HostUser): Promise<void> {
  const uids = [process.geteuid?.() ?? -1, ...(user === undefined ? [] : [user.uid])]
  for (const folder of listFolderBases(base)) await sweepBase(folder, uids).catch(() => {})
}

async function sweepBase(base: string, uids: readonly number[]): Promise<void> {
  for (const name of await readdir(base)) {
    const owner = ownerOfFolder(name)
    if (owner === undefined || livenessOf(owner) === 'alive') continue
    await sweepFolder(join(base, name), owner, uids).catch(() => {})
  }
}

async function sweepFolder(dir: string, owner: string, ours: readonly number[]): Promise<void> {
  const uids = (await isHandedOver(dir)) ? [...ours, (await lstat(dir)).uid] : ours
  if (!(await isPrivateFolder(dir, uids))) return
  if (!(await isOver(dir, livenessOf(owner)))) return
  if (!(await isOver(dir, await readKeeperLiveness(dir)))) return
  const pid = Number(await readSmallFile(join(dir, PID_FILE), 16))
  if (Number.isSafeInteger(pid) && pid > 1 && (await worksIn(pid, [dir], uids))) {
    await endQemu(pid, [dir], 'at-once')
  }
  await removeTree(dir)
  await forgetHandedOver(dir)
}

async function isOver(dir: string, liveness: Liveness): Promise<boolean> {
  if (liveness !== 'unknown') return liveness === 'dead'
  return Date.now() - (await lstat(dir)).mtimeMs > FOREIGN_RUN_MS
}
