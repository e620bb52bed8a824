import { lstat, opendir, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { removeTree } from '../../common/files/remove-tree.js'
import { isSafeParent, statIfVisible } from '../../common/files/safe-parent.js'
import { livenessOf, referTo } from '../../common/locks/process-identity.js'
import { ownerOfFolder } from '../../common/locks/run-folder-name.js'
import { readStaleness, recheckLater } from '../../common/locks/staleness.js'
import type { HostUser } from '../../common/process/host-user.js'
import { endQemu, isQemuOf } from './qemu-of-folder.js'
import {
  forgetHandedOver,
  forgetLostFolders,
  isHandedOver,
  isPrivateFolder,
  listHandedOver,
  readKeeperLiveness,
  readQemuNote,
} from './run-folder.js'
import { listFolderBases } from './workspace.js'

/**
 * Time without a touch after which a run of another host or container counts as dead, in
 * milliseconds. Runs touch their folders every 15 s. Runs from before a reboot of this host are
 * treated the same.
 */
const FOREIGN_RUN_MS = 24 * 60 * 60_000

/**
 * Time for which a sweep looks for folders of dead runs, milliseconds: another user can create any
 * number of folders with such names. Enough for several hundred thousand.
 */
const LOOK_MS = 2000
/** Number of names that are read at once. The event loop runs in between. */
const BATCH_SIZE = 1024

let areNotesSwept = false

/**
 * Removes the folders of dead runs below `base`, and kills their QEMU if it still runs. It touches
 * only real folders of mode 0700 in places where no other user can replace a folder. The folders
 * must belong to this user, to the user of `runAs`, or to a user to whom this user gave them. Never
 * rejects: a failed sweep must not prevent a guest from starting.
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
  for (const dir of await listDeadRuns(base, uids)) await sweepFolder(dir, uids).catch(() => {})
}

/** Lists the folders whose owner and name show that they may be of dead runs of these users. */
async function listDeadRuns(base: string, uids: readonly number[]): Promise<string[]> {
  const handedOver = await listHandedOver()
  const endsAt = performance.now() + LOOK_MS
  const found: string[] = []
  for await (const { name } of await opendir(base, { bufferSize: BATCH_SIZE })) {
    if (performance.now() > endsAt) break
    const owner = ownerOfFolder(name)
    if (owner === undefined) continue
    const dir = join(base, name)
    // First: folders of other users may be many, and this takes microseconds.
    const uid = statIfVisible(dir)?.uid ?? -1
    const isOurs = uids.includes(uid) || handedOver.has(name)
    if (isOurs && livenessOf(owner) !== 'alive') found.push(dir)
  }
  return found
}

async function sweepFolder(dir: string, ours: readonly number[]): Promise<void> {
  const verdict = await classifyRunFolder(dir, ours)
  if (verdict === 'over') return removeRun(dir, ours)
  if (verdict === 'stale') recheckLater(dir, () => sweepFolder(dir, ours))
}

/** `stale`: the run is not visible from here and has not touched its folder for a long time. */
type Verdict = 'over' | 'stale' | 'leave'

async function classifyRunFolder(dir: string, ours: readonly number[]): Promise<Verdict> {
  if (!(await isPrivateFolder(dir, await listOwners(dir, ours)))) return 'leave'
  const owners = [livenessOf(ownerOfFolder(dir) ?? ''), await readKeeperLiveness(dir)]
  if (owners.includes('alive')) return 'leave'
  if (!owners.includes('unknown')) return 'over'
  return ({ fresh: 'leave', stale: 'stale', abandoned: 'over' } as const)[readStaleness(dir, FOREIGN_RUN_MS)]
}

async function listOwners(dir: string, ours: readonly number[]): Promise<readonly number[]> {
  return (await isHandedOver(dir)) ? [...ours, (await lstat(dir)).uid] : ours
}

/** Kills the QEMU of a run and removes the run's folders. */
async function removeRun(dir: string, ours: readonly number[]): Promise<void> {
  const { pid, socketDir } = (await readQemuNote(dir)) ?? { socketDir: dir }
  const folders = socketDir !== dir && (await isUnused(socketDir, ours)) ? [dir, socketDir] : [dir]
  const uids = await listOwners(dir, ours)
  if (pid !== undefined) {
    const qemu = referTo(pid)
    if (qemu !== undefined && (await isQemuOf(pid, folders, uids))) await endQemu(qemu, 'at-once')
  }
  for (const folder of folders) {
    await removeTree(folder)
    await forgetHandedOver(folder)
  }
}

/**
 * Returns true if the folder of sockets named in `qemu.pid` is gone or belongs to a dead run. A
 * compromised QEMU could have named the folder of another guest.
 */
async function isUnused(dir: string, ours: readonly number[]): Promise<boolean> {
  if (!isSafeParent(await realpath(dirname(dir)))) return false
  return statIfVisible(dir) === undefined || (await classifyRunFolder(dir, ours)) !== 'leave'
}
