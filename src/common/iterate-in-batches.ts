import { setImmediate as yieldToEventLoop } from 'node:timers/promises'

/** Number of items per turn of the event loop. */
const BATCH_SIZE = 256

/**
 * Yields the items of a long list and lets the event loop run in between. Throws the reason of an
 * aborted signal.
 */
export async function* iterateInBatches<T>(items: Iterable<T>, signal?: AbortSignal): AsyncGenerator<T> {
  let count = 0
  for (const item of items) {
    if (count % BATCH_SIZE === 0) {
      if (count > 0) await yieldToEventLoop()
      signal?.throwIfAborted()
    }
    count += 1
    yield item
  }
}
