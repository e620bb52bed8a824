/** A list that keeps its newest entries, and counts those that it dropped. */
export class BoundedList<T> {
  readonly #limit: number
  readonly #entries: T[] = []
  #dropped = 0

  /** @param limit how many entries are always kept. A tenth more may be there for a while, so that one is not moved for each. */
  constructor(limit: number) {
    this.#limit = limit
  }

  get entries(): readonly T[] {
    return this.#entries
  }

  get dropped(): number {
    return this.#dropped
  }

  /** How many entries were ever added. */
  get total(): number {
    return this.#dropped + this.#entries.length
  }

  push(entry: T): void {
    this.#entries.push(entry)
    if (this.#entries.length > this.#limit * 1.1) {
      this.#dropped += this.#entries.splice(0, this.#entries.length - this.#limit).length
    }
  }

  /** Returns the entries that were added after `total` had this value, as far as they are kept. */
  since(total: number): readonly T[] {
    return this.#entries.slice(Math.max(0, total - this.#dropped))
  }
}
