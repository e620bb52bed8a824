import type { BuildStep } from '../cache/build-progress.js'
import type { Report } from './build-job.js'

/** Interval at which the progress of another process is shown, in milliseconds. */
const FOLLOW_MS = 500

/** Progress of another process that builds the same entry. */
export class OtherBuild {
  readonly #read: () => Promise<BuildStep | undefined>
  readonly #report: Report
  #timer: NodeJS.Timeout | undefined

  /** @param read returns the latest step. */
  constructor(read: () => Promise<BuildStep | undefined>, report: Report) {
    this.#read = read
    this.#report = report
  }

  /** Reports the steps until `stop()`. */
  follow(): void {
    this.#timer ??= setInterval(() => {
      this.#read()
        .then((found) => {
          if (found !== undefined && this.#timer !== undefined) this.#report(found.step, found.amount)
        })
        .catch(() => {}) // a caller's report may throw; the wait goes on
    }, FOLLOW_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
