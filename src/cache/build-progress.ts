import { randomBytes } from 'node:crypto'
import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readSmallFile } from '../common/files/read-small-file.js'
import { isRecord } from '../common/is-record.js'

/**
 * Ending of the file with the progress of a build, next to the build's folder. It is swept like the
 * folder.
 */
const ENDING = '.progress'
const MAX_BYTES = 4096
/** Minimum interval between two writes, in milliseconds. */
const INTERVAL_MS = 500

/** Latest step of a build. */
export interface BuildStep {
  readonly step: string
  /** Progress of the step, for example `12 of 45 MiB`. */
  readonly amount?: string | undefined
}

/** Writes the progress of a build for processes that wait for it, at a limited rate. */
export class ProgressFile {
  readonly #path: string
  #latest: BuildStep | undefined
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  /** @param building folder of the build. */
  constructor(building: string) {
    this.#path = `${building}${ENDING}`
  }

  report(step: BuildStep): void {
    const isFirst = this.#latest === undefined
    this.#latest = step
    if (isFirst) this.#write()
    else this.#timer ??= setTimeout(() => this.#write(), INTERVAL_MS).unref()
  }

  /** Removes the file. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#writing
    await rm(this.#path, { force: true }).catch(() => {})
  }

  #write(): void {
    this.#timer = undefined
    // A cache without space for it has no progress to show.
    this.#writing = this.#writing.then(() => this.#replace()).catch(() => {})
  }

  /** Never writes to a file that exists: another user of the cache may have put a link there. */
  async #replace(): Promise<void> {
    const temporary = `${this.#path}~${randomBytes(8).toString('hex')}`
    try {
      await writeFile(temporary, JSON.stringify(this.#latest), { flag: 'wx' })
      await rename(temporary, this.#path)
    } catch {
      await rm(temporary, { force: true })
    }
  }
}

/**
 * Returns the latest step of the build of an entry by another process; undefined if none is known.
 */
export async function readBuildStep(root: string, entry: string): Promise<BuildStep | undefined> {
  const files = await readdir(root).catch(() => [])
  const file = files.find((name) => name.includes(`-${entry}-`) && name.endsWith(ENDING))
  const text = file === undefined ? undefined : await readSmallFile(join(root, file), MAX_BYTES)
  try {
    const value: unknown = JSON.parse(text ?? '')
    if (!isRecord(value) || typeof value.step !== 'string') return undefined
    return { step: value.step, amount: typeof value.amount === 'string' ? value.amount : undefined }
  } catch {
    return undefined // it is being written
  }
}
