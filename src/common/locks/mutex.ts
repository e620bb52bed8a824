import { raceSignal } from '../deadline.js'
import { createDeferred } from '../deferred.js'

/** Grants access to one caller at a time, in order of arrival. */
export class Mutex {
  #last: Promise<void> = Promise.resolve()

  /**
   * Waits for access and returns the function that releases it. An aborted wait leaves the queue.
   */
  async acquire(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last
    const released = createDeferred<void>()
    this.#last = released.promise
    try {
      await raceSignal(before, signal)
    } catch (error) {
      // The next in the queue must not overtake those before.
      void before.then(() => released.resolve())
      throw error
    }
    return () => released.resolve()
  }
}
