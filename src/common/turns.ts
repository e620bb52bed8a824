import { raceSignal } from './deadline.js'
import { createDeferred } from './deferred.js'

/** Lets one at a time through, in the order in which they came. */
export class Turns {
  #last: Promise<void> = Promise.resolve()

  /** Waits for its turn and gives the function that ends it. A wait that is aborted leaves the queue. */
  async take(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last
    const turn = createDeferred<void>()
    this.#last = turn.promise
    try {
      await raceSignal(before, signal)
    } catch (error) {
      void before.then(() => turn.resolve()) // whoever comes next must not overtake whoever is before
      throw error
    }
    return () => turn.resolve()
  }
}
