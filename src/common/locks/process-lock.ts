import { type LockWait, type ProcessLock, sweepClaims, takeFolderLock, tryFolderLock } from './folder-lock.js'
import { processScope } from './process-identity.js'
import { openRuntimeDir } from './runtime-dir.js'

/**
 * Takes a lock between all processes of this user that see each other, or returns undefined when another process has it. Containers do not
 * exclude each other, nor does an earlier boot of this host exclude a later one: whether such a holder is dead shows only after minutes.
 * Where this user has no folder for locks at all, every process gets the lock.
 *
 * @param name 1 to 140 characters, no `/`, `~` or NUL.
 */
export async function tryProcessLock(name: string): Promise<ProcessLock | undefined> {
  const folder = openLocks()
  return folder === undefined ? NO_LOCK : tryFolderLock(folder, scoped(name))
}

/** Waits for the lock. First come, first served. */
export async function takeProcessLock(name: string, wait: LockWait = {}): Promise<ProcessLock> {
  const folder = openLocks()
  return folder === undefined ? NO_LOCK : takeFolderLock(folder, scoped(name), wait)
}

function scoped(name: string): string {
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
