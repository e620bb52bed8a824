import { randomBytes } from 'node:crypto'
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { keepTouched } from './heartbeat.js'
import { currentProcess, livenessOf } from './process-identity.js'

/** A lock that this process holds until it is released, or until the process ends in whatever way. */
export interface ProcessLock {
  release(): Promise<void>
}

/**
 * For how long a holder on another host or in another container counts as alive without touching its claim, milliseconds. Longer than
 * the longest step of a build (mmdebstrap on a busy host: 212 s), though steps do not keep the claim from being touched.
 */
export const FOREIGN_CLAIM_MS = 5 * 60_000
/** How long two processes that try at the same time wait for each other, milliseconds. Each needs less than one. */
const SETTLE_MS = 2000

/** A claim of the lock by another process that may be alive. */
interface Rival {
  readonly file: string
  /** False for a process that is still trying. */
  readonly isHeld: boolean
}

/**
 * Takes the lock `name` in a folder, or returns undefined when another process has it.
 *
 * Each process that tries creates a claim of its own, a file that is named after the lock, a ticket and the process, and then looks for
 * others. A process holds the lock if it sees no other claim; of several that try at once the lowest ticket gets it. Claims are never
 * used again, so that the claim of a dead process can be removed by anyone at any time, and there is no lock file that could be stale.
 *
 * @param folder a folder in which nobody but this user can create files.
 * @param name 1 to 150 characters, no `/`, `~` or NUL.
 * @throws {NodeJS.ErrnoException} when no file can be created in the folder.
 */
export async function tryFolderLock(folder: string, name: string): Promise<ProcessLock | undefined> {
  if (hasVisibleHolder(folder, name)) return undefined
  const own = `${name}~${drawTicket()}~${currentProcess()}`
  const path = join(folder, own)
  writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
  const heartbeat = keepTouched(path)
  const release = () => {
    heartbeat.stop()
    rmSync(path, { force: true })
  }
  try {
    for (const startedAt = performance.now(); ; await sleep(1)) {
      const rivals = findRivals(folder, name, own)
      if (rivals.length === 0) {
        // Not by another name: a file that is renamed while the folder is read may be missed.
        writeFileSync(path, 'held')
        return { release: async () => release() }
      }
      const isLost = rivals.some(({ isHeld, file }) => isHeld || file < own)
      if (isLost || performance.now() - startedAt > SETTLE_MS) break
    }
  } catch (error) {
    release()
    throw error
  }
  release()
  return undefined
}

/** Names this process among those that want something: later ones sort behind earlier ones of the same host. */
export function drawTicket(): string {
  const microseconds = process.hrtime.bigint() / 1000n
  const random = randomBytes(4).readUInt32BE() % 36 ** 4
  return microseconds.toString(36).padStart(10, '0') + random.toString(36).padStart(4, '0')
}

/** A process that waits does not create a claim each time that it looks. */
function hasVisibleHolder(folder: string, name: string): boolean {
  return listClaims(folder, name).some(
    (file) => livenessOf(holderOf(file)) === 'alive' && isHeld(folder, file),
  )
}

function findRivals(folder: string, name: string, own: string): Rival[] {
  const rivals: Rival[] = []
  for (const file of listClaims(folder, name)) {
    if (file === own) continue
    if (isAbandoned(folder, file, own)) rmSync(join(folder, file), { force: true })
    else rivals.push({ file, isHeld: isHeld(folder, file) })
  }
  return rivals
}

function listClaims(folder: string, name: string): string[] {
  return readdirSync(folder).filter((file) => file.startsWith(`${name}~`))
}

function holderOf(file: string): string {
  return file.slice(file.lastIndexOf('~') + 1)
}

function isAbandoned(folder: string, file: string, own: string): boolean {
  const liveness = livenessOf(holderOf(file))
  if (liveness !== 'unknown') return liveness === 'dead'
  // Both by the clock of the file system, which may be another host's.
  const [theirs, ours] = [readMtimeMs(folder, file), readMtimeMs(folder, own)]
  return theirs !== undefined && ours !== undefined && ours - theirs > FOREIGN_CLAIM_MS
}

function readMtimeMs(folder: string, file: string): number | undefined {
  return statSync(join(folder, file), { throwIfNoEntry: false })?.mtimeMs
}

function isHeld(folder: string, file: string): boolean {
  return (statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0) > 0
}
