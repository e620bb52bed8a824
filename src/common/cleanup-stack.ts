/**
 * Runs releases in reverse order of registration. Every release runs, even if an earlier one
 * throws.
 */
export class CleanupStack {
  readonly #releases: Array<() => unknown> = []
  #disposing: Promise<void> | undefined
  #isEmpty = false

  /**
   * Registers a release. Call it right after the acquisition, before the next one. A release
   * registered after disposal runs immediately.
   */
  defer(release: () => unknown): void {
    if (this.#isEmpty) {
      // No caller is left to receive the error.
      Promise.resolve()
        .then(release)
        .catch(() => {})
    } else this.#releases.push(release)
  }

  /** Runs all releases once; later calls wait for the first. */
  dispose(): Promise<void> {
    this.#disposing ??= this.#run()
    return this.#disposing
  }

  async #run(): Promise<void> {
    const errors: unknown[] = []
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      try {
        await release()
      } catch (error) {
        errors.push(error)
      }
    }
    this.#isEmpty = true
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} steps of the cleanup failed.`)
  }
}
