import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pollUntil } from '../poll.js'
import { type Heartbeat, keepFileTouched } from './heartbeat.js'
import { currentProcess, livenessOf } from './process-identity.js'

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
/** For how long a claim that looks abandoned must not have changed, milliseconds: a jump of the clock makes all look so for 15 s. */
const OBSERVED_MS = 40_000
/** In place of the number of a claim that is being numbered. */
const CHOOSING = 'x'

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

/** Removes the claims of dead processes on all locks of a folder. */
export function sweepClaims(folder: string): void {
  for (const file of readdirSync(folder)) {
    if (file.includes('~') && livenessOf(holderOf(file)) === 'dead')
      rmSync(join(folder, file), { force: true })
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
  /** Since when claims of other hosts and containers, and processes that number theirs, have been seen as they are. */
  readonly #seen = new Map<string, { readonly state: string; readonly since: number }>()

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
      if (!rivals.some((file) => isChoosing(file) && !this.#isUnchangedFor(file, 2 * NUMBERING_MS)))
        return true
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
    if (isOver) rmSync(join(this.#folder, file), { force: true })
    return isOver
  }

  #isAbandoned(file: string): boolean {
    // Both are stamped by the file system, which may be another host's.
    const [theirs, ours] = [readMtimeMs(this.#folder, file), readMtimeMs(this.#folder, this.#file)]
    if (theirs === undefined || ours === undefined) return false
    const isOld = ours - theirs > FOREIGN_CLAIM_MS
    return this.#isUnchangedFor(file, OBSERVED_MS) && isOld
  }

  #isUnchangedFor(file: string, ms: number): boolean {
    const state = String(readMtimeMs(this.#folder, file))
    const known = this.#seen.get(file)
    if (known?.state === state) return performance.now() - known.since > ms
    this.#seen.set(file, { state, since: performance.now() })
    return false
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

function readMtimeMs(folder: string, file: string): number | undefined {
  return statSync(join(folder, file), { throwIfNoEntry: false })?.mtimeMs
}
