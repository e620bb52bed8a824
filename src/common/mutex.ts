import { raceSignal } from './deadline.js'
import { createDeferred } from './deferred.js'

/** Grants access to one caller at a time, in order of arrival. */
export class Mutex {
  #last: Promise<void> = Promise.resolve()

  /** Waits for access and returns the function that releases it. An aborted wait leaves the queue. */
  async acquire(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last
    const released = createDeferred<void>()
    this.#last = released.promise
    try {
      await raceSignal(before, signal)
    } catch (error) {
      void before.then(() => released.resolve()) // the next in the queue must not overtake those before
      throw error
    }
    return () => released.resolve()
  }
}
