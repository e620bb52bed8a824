import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { statIfVisible } from '../files/safe-parent.js'
import { pollUntil } from '../poll.js'
import { type Heartbeat, keepFileTouched } from './heartbeat.js'
import { currentProcess, livenessOf } from './process-identity.js'
import { isUnchangedFor, readStaleness, recheckLater } from './staleness.js'

/** Lock that this process holds until it is released or the process ends in any way. */
export interface ProcessLock {
  release(): Promise<void>
}

/**
 * Holder of a lock: a process visible to this one, or a process of another container or host, whose
 * death is detected only after minutes.
 */
export type LockHolder = 'local' | 'foreign'

export interface LockWait {
  readonly signal?: AbortSignal | undefined
  /** Called once if another process holds the lock. */
  readonly onWait?: ((holder: LockHolder) => void) | undefined
  /** @default 50 */
  readonly intervalMs?: number
}

/**
 * Time without a touch after which a holder on another host or in another container counts as dead,
 * in milliseconds. Longer than the longest step of a build (mmdebstrap on a busy host: 212 s),
 * although the claim is touched during a step.
 */
export const FOREIGN_CLAIM_MS = 5 * 60_000
/**
 * Time limit for numbering a claim, in milliseconds; it takes less than one. A slower process
 * starts again, and others wait twice as long for it.
 */
const NUMBERING_TIMEOUT_MS = 1000
/** Placeholder for the number of a claim that is being numbered. */
const CHOOSING = 'x'
const NAME = /^[^/~\0]{1,150}$/

/**
 * Takes the lock `name` in a folder; returns undefined if another process holds it or waits for it.
 *
 * This is Lamport's bakery algorithm with files. A process creates a claim, named after the lock, a
 * number and the process. While it determines the next number, a second file announces that. The
 * claim with the lowest number holds the lock. Claims are never reused, so any process can remove
 * the claim of a dead process at any time, and no lock file can become stale.
 *
 * @param folder a folder in which only this user can create files.
 * @param name 1 to 150 characters, no `/`, `~` or NUL.
 * @throws {TypeError} for an invalid name.
 * @throws {NodeJS.ErrnoException} when no file can be created in the folder.
 */
export async function tryFolderLock(folder: string, name: string): Promise<ProcessLock | undefined> {
  if (listClaims(folder, name).some((file) => livenessOf(holderOf(file)) === 'alive')) return undefined
  const claim = await Claim.make(folder, name)
  if (await claim.isFirst()) return { release: async () => claim.remove() }
  claim.remove()
  return undefined
}

/**
 * Waits for the lock `name` in a folder. First come, first served.
 *
 * @throws errors of {@link tryFolderLock}.
 */
export async function takeFolderLock(
  folder: string,
  name: string,
  wait: LockWait = {},
): Promise<ProcessLock> {
  wait.signal?.throwIfAborted()
  const claim = await Claim.make(folder, name)
  await waitForTurn(claim, wait)
  return { release: async () => claim.remove() }
}

/**
 * Waits for the lock like {@link takeFolderLock}, but returns undefined once `isObsolete` resolves
 * to true: a suspended process ahead in the queue must not delay work that is already done.
 */
export async function takeFolderLockUnless(
  isObsolete: () => Promise<boolean>,
  folder: string,
  name: string,
  wait: LockWait = {},
): Promise<ProcessLock | undefined> {
  wait.signal?.throwIfAborted()
  const claim = await Claim.make(folder, name)
  if (await waitForTurn(claim, wait, isObsolete)) return { release: async () => claim.remove() }
  claim.remove()
  return undefined
}

/**
 * Resolves to true when the claim is first, or to false as soon as the wait is obsolete. Removes
 * the claim if the wait fails.
 */
async function waitForTurn(
  claim: Claim,
  { signal, onWait, intervalMs = 50 }: LockWait,
  isObsolete = async () => false,
): Promise<boolean> {
  try {
    if (await claim.isFirst()) return true
    onWait?.(claim.contender)
    const check = async () => {
      if (await claim.isFirst()) return true
      return (await isObsolete()) ? false : undefined
    }
    return await pollUntil(check, { intervalMs, signal })
  } catch (error) {
    claim.remove()
    throw error
  }
}

/**
 * Removes the files of dead processes from a folder: claims on all locks, and other files named
 * `…~IDENTITY` with a heartbeat. Files of other containers and hosts are removed after this process
 * has observed them untouched twice. Never throws.
 */
export function sweepClaims(folder: string): void {
  for (const file of listFiles(folder)) {
    if (!file.includes('~')) continue
    const path = join(folder, file)
    const liveness = livenessOf(holderOf(file))
    const staleness = liveness === 'unknown' ? readStaleness(path, FOREIGN_CLAIM_MS) : 'fresh'
    if (liveness === 'dead' || staleness === 'abandoned') removeClaim(path)
    if (staleness === 'stale') recheckLater(folder, async () => sweepClaims(folder))
  }
}

let count = 0
const held = new Set<Claim>()

/**
 * A process that exits removes its claims. Claims of a killed process are removed by the next one.
 */
process.on('exit', () => {
  for (const claim of held) claim.remove()
})

/** File of a claim, with its heartbeat. */
interface NumberedFile {
  readonly number: number
  readonly file: string
  readonly heartbeat: Heartbeat
}

class Claim {
  readonly #folder: string
  readonly #name: string
  readonly #file: string
  readonly #number: number
  readonly #heartbeat: Heartbeat

  /** Holder that preceded this claim at the last call of {@link isFirst}. */
  contender: LockHolder = 'local'

  private constructor(folder: string, name: string, { number, file, heartbeat }: NumberedFile) {
    this.#folder = folder
    this.#name = name
    this.#number = number
    this.#file = file
    this.#heartbeat = heartbeat
    held.add(this)
  }

  static async make(folder: string, name: string): Promise<Claim> {
    if (!NAME.test(name)) throw new TypeError(`'${name}' is not a valid name of a lock.`)
    const own = `${++count}~${currentProcess()}`
    const choosing = join(folder, `${name}~${CHOOSING}~${own}`)
    try {
      for (;;) {
        const startedAt = performance.now()
        writeFileSync(choosing, '', { mode: 0o600 })
        const number = Math.max(0, ...listClaims(folder, name).map(numberOf)) + 1
        const file = `${name}~${number}~${own}`
        const heartbeat = keepFileTouched(join(folder, file), { isNew: true })
        // If this process was stopped in between, others may no longer wait for it, and its number
        // may be too low.
        if (performance.now() - startedAt < NUMBERING_TIMEOUT_MS)
          return new Claim(folder, name, { number, file, heartbeat })
        heartbeat.stop()
        rmSync(join(folder, file), { force: true })
      }
    } finally {
      rmSync(choosing, { force: true })
    }
  }

  /** Returns true if no live process has a lower number or is about to take one. */
  isFirst(): Promise<boolean> {
    const judge = () => {
      // Reads twice: a claim that replaces another file during a read can be missed once.
      const files = new Set([
        ...listClaims(this.#folder, this.#name),
        ...listClaims(this.#folder, this.#name),
      ])
      const contenders = [...files].filter((file) => file !== this.#file && !this.#isDead(file))
      const first = contenders.find((file) => !isChoosing(file) && this.#isBefore(file))
      if (first !== undefined) {
        this.contender = livenessOf(holderOf(first)) === 'unknown' ? 'foreign' : 'local'
        return false
      }
      const isOverdue = (file: string) => isUnchangedFor(join(this.#folder, file), 2 * NUMBERING_TIMEOUT_MS)
      return contenders.every((file) => !isChoosing(file) || isOverdue(file)) || undefined
    }
    return pollUntil(judge, { intervalMs: 1 })
  }

  remove(): void {
    this.#heartbeat.stop()
    held.delete(this)
    rmSync(join(this.#folder, this.#file), { force: true })
  }

  #isBefore(file: string): boolean {
    const number = numberOf(file)
    return number < this.#number || (number === this.#number && file < this.#file)
  }

  /**
   * Returns true if the process of a claim is dead or counts as dead, and removes the claim then.
   */
  #isDead(file: string): boolean {
    const liveness = livenessOf(holderOf(file))
    const isDead = liveness === 'dead' || (liveness === 'unknown' && this.#isAbandoned(file))
    if (isDead) removeClaim(join(this.#folder, file))
    return isDead
  }

  #isAbandoned(file: string): boolean {
    // Compared with this claim's time: the file system, possibly on another host, stamps both.
    const now = statIfVisible(join(this.#folder, this.#file))?.mtimeMs
    return readStaleness(join(this.#folder, file), FOREIGN_CLAIM_MS, now) === 'abandoned'
  }
}

/**
 * Removes a claim. In a folder of several users, a claim of another user may remain; it is ignored.
 */
function removeClaim(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Only its owner or root can remove it.
  }
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function listClaims(folder: string, name: string): string[] {
  return readdirSync(folder).filter((file) => file.startsWith(`${name}~`))
}

function holderOf(file: string): string {
  return file.slice(file.lastIndexOf('~') + 1)
}

/** Returns 0 for a claim that is being numbered. */
function numberOf(file: string): number {
  return Number(file.split('~')[1]) || 0
}

function isChoosing(file: string): boolean {
  return file.split('~')[1] === CHOOSING
}
