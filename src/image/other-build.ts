import { readBuildStep } from '../cache/build-progress.js'
import type { Report } from './build-job.js'

/** Interval at which the progress of another process is shown, milliseconds. */
const FOLLOW_MS = 500

/** Progress of another process that builds the same entry. */
export class OtherBuild {
  readonly #root: string
  readonly #entry: string
  readonly #report: Report
  #timer: NodeJS.Timeout | undefined

  constructor(root: string, entry: string, report: Report) {
    this.#root = root
    this.#entry = entry
    this.#report = report
  }

  /** Reports its steps until `stop()`. */
  follow(): void {
    this.#timer ??= setInterval(() => {
      readBuildStep(this.#root, this.#entry)
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
