import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  type LockHolder,
  type LockWait,
  type ProcessLock,
  sweepClaims,
  takeFolderLock,
  tryFolderLock,
} from '../common/locks/folder-lock.js'
import { currentProcess, IDENTITY_PATTERN, livenessOf } from '../common/locks/process-identity.js'
import { lookAgain, readStaleness } from '../common/locks/staleness.js'

/** Next to the entries of a folder of the cache: a claim for each entry that is being built. */
const LOCKS = '.locks'
const BUILD = '.build-'
const BUILD_NAME = new RegExp(`^\\${BUILD}(${IDENTITY_PATTERN})-`)
/** For how long the remains of a build by another host or container are left alone after they were last touched, milliseconds. */
const FOREIGN_BUILD_MS = 60 * 60_000

/**
 * Takes the lock of an entry of the folder `root` of a cache, or returns undefined while another process has it. The lock is in the cache
 * itself, so that containers and hosts which share the cache exclude each other.
 * @throws {NodeJS.ErrnoException} when nothing can be written to the cache.
 */
export async function tryEntryLock(root: string, entry: string): Promise<ProcessLock | undefined> {
  return tryFolderLock(await openLocks(root), entry)
}

/** Waits for the lock of an entry. */
export async function takeEntryLock(root: string, entry: string, wait: LockWait): Promise<ProcessLock> {
  return takeFolderLock(await openLocks(root), entry, wait)
}

/** Says, for a progress line, who builds the entry that is waited for. */
export function describeLockWait(holder: LockHolder): string {
  return holder === 'local'
    ? 'waiting for another process that makes it'
    : 'waiting for another container or host that makes it; one that was killed is waited for 6 min'
}

async function openLocks(root: string): Promise<string> {
  const folder = join(root, LOCKS)
  await mkdir(folder, { recursive: true })
  return folder
}

/** Returns a new path next to the entries, for what is being built or is on its way out. The next builder removes it if this process dies. */
export function newBuildPath(root: string, entry: string): string {
  return join(root, `${BUILD}${currentProcess()}-${entry}-${randomBytes(4).toString('hex')}`)
}

/**
 * Removes what dead builders left: what they were building, and their claims. Never rejects: what another user left must not keep an entry
 * from being built.
 */
export async function sweepBuilds(root: string): Promise<void> {
  sweepClaims(join(root, LOCKS))
  const files = await readdir(root).catch(() => [])
  for (const file of files) if (file.startsWith(BUILD)) await sweepBuild(join(root, file)).catch(() => {})
}

async function sweepBuild(path: string): Promise<void> {
  const liveness = livenessOf(BUILD_NAME.exec(basename(path))?.[1] ?? '')
  const staleness = liveness === 'unknown' ? readStaleness(path, FOREIGN_BUILD_MS) : 'fresh'
  if (staleness === 'stale') lookAgain(path, () => sweepBuild(path))
  if (liveness === 'dead' || staleness === 'abandoned') await rm(path, { recursive: true, force: true })
}
