import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { statIfVisible } from '../files/safe-parent.js'
import { pollUntil } from '../poll.js'
import { type Heartbeat, keepFileTouched } from './heartbeat.js'
import { currentProcess, livenessOf } from './process-identity.js'
import { isUnchangedFor, lookAgain, readStaleness } from './staleness.js'

/** A lock that this process holds until it is released, or until the process ends in whatever way. */
export interface ProcessLock {
  release(): Promise<void>
}

/** Who has a lock: a process that this one can see, or one of another container or host, whose death shows only after minutes. */
export type LockHolder = 'local' | 'foreign'

export interface LockWait {
  readonly signal?: AbortSignal | undefined
  /** Called once if another process has the lock. */
  readonly onWait?: ((holder: LockHolder) => void) | undefined
  /** @default 50 */
  readonly intervalMs?: number
}

/**
 * For how long a holder on another host or in another container counts as alive without touching its claim, milliseconds. Longer than
 * the longest step of a build (mmdebstrap on a busy host: 212 s), though steps do not keep the claim from being touched.
 */
export const FOREIGN_CLAIM_MS = 5 * 60_000
/** A process that takes longer to number its claim starts again, and others wait twice as long for it, milliseconds. It takes less than one. */
const NUMBERING_MS = 1000
/** In place of the number of a claim that is being numbered. */
const CHOOSING = 'x'
const NAME = /^[^/~\0]{1,150}$/

/**
 * Takes the lock `name` in a folder, or returns undefined when another process has it or waits for it.
 *
 * This is Lamport's bakery with files. A process creates a claim of its own, named after the lock, a number and the process. While it
 * looks for the highest number and takes the next, another file of its own says so. The claim with the lowest number holds the lock.
 * Claims are never used again, so that the claim of a dead process can be removed by anyone at any time, and there is no lock file that
 * could be stale.
 *
 * @param folder a folder in which nobody but this user can create files.
 * @param name 1 to 150 characters, no `/`, `~` or NUL.
 * @throws {TypeError} for another name.
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
 * @throws what {@link tryFolderLock} throws.
 */
export async function takeFolderLock(
  folder: string,
  name: string,
  { signal, onWait, intervalMs = 50 }: LockWait = {},
): Promise<ProcessLock> {
  signal?.throwIfAborted()
  const claim = await Claim.make(folder, name)
  try {
    if (!(await claim.isFirst())) {
      onWait?.(claim.rival)
      await pollUntil(async () => (await claim.isFirst()) || undefined, { intervalMs, signal })
    }
    return { release: async () => claim.remove() }
  } catch (error) {
    claim.remove()
    throw error
  }
}

/**
 * Removes the files of dead processes from a folder: their claims on all locks, and whatever else is named `…~IDENTITY` and touched. Files
 * of other containers and hosts are removed when this process has seen them untouched twice. Never throws.
 */
export function sweepClaims(folder: string): void {
  for (const file of listFiles(folder)) {
    if (!file.includes('~')) continue
    const path = join(folder, file)
    const liveness = livenessOf(holderOf(file))
    const staleness = liveness === 'unknown' ? readStaleness(path, FOREIGN_CLAIM_MS) : 'fresh'
    if (liveness === 'dead' || staleness === 'abandoned') removeClaim(path)
    if (staleness === 'stale') lookAgain(folder, async () => sweepClaims(folder))
  }
}

let count = 0
const held = new Set<Claim>()

/** A process that ends by itself leaves no claim; those of one that was killed are removed by the next. */
process.on('exit', () => {
  for (const claim of held) claim.remove()
})

/** The file of a claim, which this process touches. */
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

  /** Who was before this claim when {@link isFirst} last looked. */
  rival: LockHolder = 'local'

  private constructor(folder: string, name: string, { number, file, heartbeat }: NumberedFile) {
    this.#folder = folder
    this.#name = name
    this.#number = number
    this.#file = file
    this.#heartbeat = heartbeat
    held.add(this)
  }

  static async make(folder: string, name: string): Promise<Claim> {
    if (!NAME.test(name)) throw new TypeError(`'${name}' cannot be the name of a lock`)
    const own = `${++count}~${currentProcess()}`
    const choosing = join(folder, `${name}~${CHOOSING}~${own}`)
    try {
      for (;;) {
        const startedAt = performance.now()
        writeFileSync(choosing, '', { mode: 0o600 })
        const number = Math.max(0, ...listClaims(folder, name).map(numberOf)) + 1
        const file = `${name}~${number}~${own}`
        const heartbeat = keepFileTouched(join(folder, file), { isNew: true })
        // Others may have stopped waiting for a process that was stopped in between, and its number may be too low.
        if (performance.now() - startedAt < NUMBERING_MS)
          return new Claim(folder, name, { number, file, heartbeat })
        heartbeat.stop()
        rmSync(join(folder, file), { force: true })
      }
    } finally {
      rmSync(choosing, { force: true })
    }
  }

  /** Whether no process that is alive has a lower number, or is about to take one. */
  async isFirst(): Promise<boolean> {
    for (;;) {
      // Twice: a claim that takes the place of another file while the folder is read can be missed once.
      const files = new Set([
        ...listClaims(this.#folder, this.#name),
        ...listClaims(this.#folder, this.#name),
      ])
      const rivals = [...files].filter((file) => file !== this.#file && !this.#isOver(file))
      const first = rivals.find((file) => !isChoosing(file) && this.#isBefore(file))
      if (first !== undefined) {
        this.rival = livenessOf(holderOf(first)) === 'unknown' ? 'foreign' : 'local'
        return false
      }
      const isOverdue = (file: string) => isUnchangedFor(join(this.#folder, file), 2 * NUMBERING_MS)
      if (rivals.every((file) => !isChoosing(file) || isOverdue(file))) return true
      await sleep(1)
    }
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

  /** Whether the process of a claim is dead, or counts as dead; then the claim is removed. */
  #isOver(file: string): boolean {
    const liveness = livenessOf(holderOf(file))
    const isOver = liveness === 'dead' || (liveness === 'unknown' && this.#isAbandoned(file))
    if (isOver) removeClaim(join(this.#folder, file))
    return isOver
  }

  #isAbandoned(file: string): boolean {
    // Both are stamped by the file system, which may be another host's.
    const now = statIfVisible(join(this.#folder, this.#file))?.mtimeMs
    return readStaleness(join(this.#folder, file), FOREIGN_CLAIM_MS, now) === 'abandoned'
  }
}

/** In a folder of several users, a claim of another may have to stay: it no longer counts either way. */
function removeClaim(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Its owner, or root, can.
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

/** 0 for a claim that is being numbered. */
function numberOf(file: string): number {
  return Number(file.split('~')[1]) || 0
}

function isChoosing(file: string): boolean {
  return file.split('~')[1] === CHOOSING
}
