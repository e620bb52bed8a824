import { lstat, readdir, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { removeTree } from '../../common/files/remove-tree.js'
import { isSafeParent, statIfVisible } from '../../common/files/safe-parent.js'
import { livenessOf } from '../../common/locks/process-identity.js'
import { ownerOfFolder } from '../../common/locks/run-folder-name.js'
import { lookAgain, readStaleness } from '../../common/locks/staleness.js'
import type { HostUser } from '../../common/process/host-user.js'
import { endQemu, worksIn } from './qemu-of-folder.js'
import {
  forgetHandedOver,
  forgetLostFolders,
  isHandedOver,
  isPrivateFolder,
  readKeeperLiveness,
  readQemuNote,
} from './run-folder.js'
import { listFolderBases } from './workspace.js'

/**
 * For how long a run of another host or container counts as alive without touching its folder, milliseconds. Runs touch their folders
 * every 15 s; after a boot of this host its earlier runs are such runs too.
 */
const FOREIGN_RUN_MS = 24 * 60 * 60_000

let areNotesSwept = false

/**
 * Removes the folders that dead runs have left below `base`, and kills a QEMU of theirs that still runs. Only real folders of mode 0700
 * that belong to this user, to the user of `runAs`, or to a user to whom this one gave them, are touched, and only where no other user can
 * put a folder in their place. Never rejects: what cannot be swept must not keep a guest from starting.
 */
export async function sweepDeadWorkspaces(base: string = tmpdir(), user?: HostUser): Promise<void> {
  const uids = [process.geteuid?.() ?? -1, ...(user === undefined ? [] : [user.uid])]
  for (const folder of listFolderBases(base)) await sweepBase(folder, uids).catch(() => {})
  if (areNotesSwept) return
  areNotesSwept = true
  await forgetLostFolders().catch(() => {})
}

async function sweepBase(base: string, uids: readonly number[]): Promise<void> {
  if (!isSafeParent(await realpath(base))) return
  for (const name of await readdir(base)) {
    const owner = ownerOfFolder(name)
    if (owner === undefined || livenessOf(owner) === 'alive') continue
    await sweepFolder(join(base, name), uids).catch(() => {})
  }
}

async function sweepFolder(dir: string, ours: readonly number[]): Promise<void> {
  const verdict = await judge(dir, ours)
  if (verdict === 'over') return removeRun(dir, ours)
  if (verdict === 'stale') lookAgain(dir, () => sweepFolder(dir, ours))
}

/** `stale`: of a run that cannot be seen from here, and that has not touched its folder for long. */
type Verdict = 'over' | 'stale' | 'leave'

async function judge(dir: string, ours: readonly number[]): Promise<Verdict> {
  if (!(await isPrivateFolder(dir, await listOwners(dir, ours)))) return 'leave'
  const lives = [livenessOf(ownerOfFolder(dir) ?? ''), await readKeeperLiveness(dir)]
  if (lives.includes('alive')) return 'leave'
  if (!lives.includes('unknown')) return 'over'
  return ({ fresh: 'leave', stale: 'stale', abandoned: 'over' } as const)[readStaleness(dir, FOREIGN_RUN_MS)]
}

async function listOwners(dir: string, ours: readonly number[]): Promise<readonly number[]> {
  return (await isHandedOver(dir)) ? [...ours, (await lstat(dir)).uid] : ours
}

/** Kills the QEMU of a run, and removes the folders of that run. */
async function removeRun(dir: string, ours: readonly number[]): Promise<void> {
  const { pid, socketDir } = (await readQemuNote(dir)) ?? { socketDir: dir }
  const folders = socketDir !== dir && (await isOverOrGone(socketDir, ours)) ? [dir, socketDir] : [dir]
  const uids = await listOwners(dir, ours)
  if (pid !== undefined && (await worksIn(pid, folders, uids))) await endQemu(pid, folders, 'at-once')
  for (const folder of folders) {
    await removeTree(folder)
    await forgetHandedOver(folder)
  }
}

/** The note that names a folder for sockets may be a compromised QEMU's, and the folder that of another guest. */
async function isOverOrGone(dir: string, ours: readonly number[]): Promise<boolean> {
  if (!isSafeParent(await realpath(dirname(dir)))) return false
  return statIfVisible(dir) === undefined || (await judge(dir, ours)) !== 'leave'
}
