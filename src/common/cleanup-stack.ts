/** Releases, in the reverse order, what was acquired. Every release runs, even when an earlier one throws. */
export class CleanupStack {
  readonly #releases: Array<() => unknown> = []
  #disposing: Promise<void> | undefined
  #isEmpty = false

  /**
   * Registers a release. Call it right after the acquisition, before the next one. What was acquired while the
   * stack was disposed of is released at once.
   */
  defer(release: () => unknown): void {
    if (this.#isEmpty) {
      // Nobody is left who could be told.
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
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} releases failed`)
  }
}
