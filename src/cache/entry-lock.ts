import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  type LockHolder,
  type LockWait,
  type ProcessLock,
  sweepClaims,
  takeFolderLockUnless,
  tryFolderLock,
} from '../common/locks/folder-lock.js'
import { currentProcess, IDENTITY_PATTERN, livenessOf } from '../common/locks/process-identity.js'
import { readStaleness, recheckLater } from '../common/locks/staleness.js'

/** Folder next to the entries with a claim for each entry that is being built. */
const LOCKS = '.locks'
const BUILD = '.build-'
const BUILD_NAME = new RegExp(`^\\${BUILD}(${IDENTITY_PATTERN})-`)
/**
 * Time without a touch after which a build of another host or container counts as dead,
 * in milliseconds.
 */
const FOREIGN_BUILD_MS = 60 * 60_000

/**
 * Takes the lock of an entry of the folder `root` of a cache; returns undefined while another
 * process holds it. The lock is in the cache itself, so containers and hosts that share the cache
 * exclude each other.
 * @throws {NodeJS.ErrnoException} when the cache is not writable.
 */
export async function tryEntryLock(root: string, entry: string): Promise<ProcessLock | undefined> {
  return tryFolderLock(await openLocks(root), entry)
}

/** Waits for the lock of an entry; returns undefined as soon as `isComplete` resolves to true. */
export async function takeEntryLock(
  root: string,
  entry: string,
  { isComplete, ...wait }: LockWait & { readonly isComplete: () => Promise<boolean> },
): Promise<ProcessLock | undefined> {
  return takeFolderLockUnless(isComplete, await openLocks(root), entry, wait)
}

/** Describes for a progress line which process builds the entry. */
export function describeLockWait(holder: LockHolder): string {
  return holder === 'local'
    ? 'waiting for another process that builds it'
    : 'waiting for another container or host that builds it; at most 6 min if it was killed'
}

async function openLocks(root: string): Promise<string> {
  const folder = join(root, LOCKS)
  await mkdir(folder, { recursive: true })
  return folder
}

/**
 * Returns a new path next to the entries, for a build or for an entry that is being removed. If
 * this process dies, the next builder removes it.
 */
export function newBuildPath(root: string, entry: string): string {
  return join(root, `${BUILD}${currentProcess()}-${entry}-${randomBytes(4).toString('hex')}`)
}

/**
 * Removes unfinished builds and claims of dead builders. Never rejects: remains of another user
 * must not prevent a build.
 */
export async function sweepBuilds(root: string): Promise<void> {
  sweepClaims(join(root, LOCKS))
  const files = await readdir(root).catch(() => [])
  for (const file of files) if (file.startsWith(BUILD)) await sweepBuild(join(root, file)).catch(() => {})
}

async function sweepBuild(path: string): Promise<void> {
  const liveness = livenessOf(BUILD_NAME.exec(basename(path))?.[1] ?? '')
  const staleness = liveness === 'unknown' ? readStaleness(path, FOREIGN_BUILD_MS) : 'fresh'
  if (staleness === 'stale') recheckLater(path, () => sweepBuild(path))
  if (liveness === 'dead' || staleness === 'abandoned') await rm(path, { recursive: true, force: true })
}
