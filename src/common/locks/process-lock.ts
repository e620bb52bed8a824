import { pollUntil } from '../poll.js'
import { type ProcessLock, tryFolderLock } from './folder-lock.js'
import { openRuntimeDir } from './runtime-dir.js'

/**
 * Takes a lock between all processes of this user on this host, or returns undefined when another process has it. Where this user
 * has no folder for locks at all, every process gets the lock.
 *
 * @param name 1 to 150 characters, no `/`, `~` or NUL.
 */
export async function tryProcessLock(name: string): Promise<ProcessLock | undefined> {
  const folder = openRuntimeDir('locks')
  return folder === undefined ? { release: async () => {} } : tryFolderLock(folder, name)
}

export interface LockWait {
  readonly signal?: AbortSignal | undefined
  /** Called once if another process has the lock. */
  readonly onWait?: (() => void) | undefined
  /** @default 50 */
  readonly intervalMs?: number
}

/** Waits for the lock. */
export function takeProcessLock(name: string, wait: LockWait = {}): Promise<ProcessLock> {
  return waitForLock(() => tryProcessLock(name), wait)
}

/** Waits until `tryLock` returns a lock. */
export async function waitForLock(
  tryLock: () => Promise<ProcessLock | undefined>,
  { signal, onWait, intervalMs = 50 }: LockWait,
): Promise<ProcessLock> {
  const lock = await tryLock()
  if (lock !== undefined) return lock
  onWait?.()
  return pollUntil(tryLock, { intervalMs, signal })
}
