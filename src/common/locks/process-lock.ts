import { type LockWait, type ProcessLock, sweepClaims, takeFolderLock, tryFolderLock } from './folder-lock.js'
import { processScope } from './process-identity.js'
import { openRuntimeDir } from './runtime-dir.js'

/**
 * Takes a lock among all processes of this user that are visible to each other; returns undefined
 * if another process holds it. Containers do not exclude each other, nor do different boots of this
 * host: the death of such a holder would be detected only after minutes. If this user has no folder
 * for locks, every process gets the lock.
 *
 * @param name 1 to 140 characters, no `/`, `~` or NUL.
 */
export async function tryProcessLock(name: string): Promise<ProcessLock | undefined> {
  const folder = openLocks()
  return folder === undefined ? NO_LOCK : tryFolderLock(folder, scopedLockName(name))
}

/** Waits for the lock. First come, first served. */
export async function takeProcessLock(name: string, wait: LockWait = {}): Promise<ProcessLock> {
  const folder = openLocks()
  return folder === undefined ? NO_LOCK : takeFolderLock(folder, scopedLockName(name), wait)
}

function scopedLockName(name: string): string {
  return `${name}-${processScope()}`
}

const NO_LOCK: ProcessLock = { release: async () => {} }

let swept: string | undefined

function openLocks(): string | undefined {
  const folder = openRuntimeDir('locks')
  if (folder !== undefined && folder !== swept) {
    swept = folder
    sweepClaims(folder)
  }
  return folder
}
