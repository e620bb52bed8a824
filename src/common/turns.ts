import { raceSignal } from './deadline.js'
import { createDeferred } from './deferred.js'

/** Grants turns one at a time, in order of arrival. */
export class Turns {
  #last: Promise<void> = Promise.resolve()

  /** Waits for a turn and returns the function that ends it. An aborted wait leaves the queue. */
  async take(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last
    const turn = createDeferred<void>()
    this.#last = turn.promise
    try {
      await raceSignal(before, signal)
    } catch (error) {
      void before.then(() => turn.resolve()) // the next in the queue must not overtake those before
      throw error
    }
    return () => turn.resolve()
  }
}
