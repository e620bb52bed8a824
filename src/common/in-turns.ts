import { setImmediate as nextTurn } from 'node:timers/promises'

/** Number of items in one turn of the event loop. */
const ITEMS_PER_TURN = 256

/**
 * Yields the items of a long list and lets the event loop run in between. Throws the reason of an
 * aborted signal.
 */
export async function* inTurns<T>(items: Iterable<T>, signal?: AbortSignal): AsyncGenerator<T> {
  let count = 0
  for (const item of items) {
    if (count % ITEMS_PER_TURN === 0) {
      if (count > 0) await nextTurn()
      signal?.throwIfAborted()
    }
    count += 1
    yield item
  }
}
