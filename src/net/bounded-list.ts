/** List that keeps its newest entries and counts the dropped ones. */
export class BoundedList<T> {
  readonly #limit: number
  readonly #entries: T[] = []
  #dropped = 0

  /**
   * @param limit number of entries that are always kept. Up to a tenth more are kept to drop
   * entries in batches.
   */
  constructor(limit: number) {
    this.#limit = limit
  }

  get entries(): readonly T[] {
    return this.#entries
  }

  get dropped(): number {
    return this.#dropped
  }

  /** Total number of entries added. */
  get total(): number {
    return this.#dropped + this.#entries.length
  }

  push(entry: T): void {
    this.#entries.push(entry)
    if (this.#entries.length > this.#limit * 1.1) {
      this.#dropped += this.#entries.splice(0, this.#entries.length - this.#limit).length
    }
  }

  /** Returns the kept entries that were added after `total` had this value. */
  since(total: number): readonly T[] {
    return this.#entries.slice(Math.max(0, total - this.#dropped))
  }
}
