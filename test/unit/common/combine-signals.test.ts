import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { combineSignals } from '../../../src/common/combine-signals.js'

test('the only signal is returned unchanged', () => {
  const { signal } = new AbortController()
  expect(combineSignals(signal, undefined)).toBe(signal)
  expect(combineSignals(undefined, signal)).toBe(signal)
})

test('a combined signal aborts with the reason of the first signal that aborts', () => {
  const [first, second] = [new AbortController(), new AbortController()]
  const combined = combineSignals(first.signal, second.signal, undefined)
  expect(combined.aborted).toBe(false)
  second.abort('second')
  first.abort('first')
  expect(combined.reason).toBe('second')
})

test('signals that have already aborted are combined in the given order', () => {
  const combined = combineSignals(undefined, AbortSignal.abort('first'), AbortSignal.abort('second'))
  expect(combined.reason).toBe('first')
})

test('a combined signal adds no listener to a long-lived signal', () => {
  const { signal: longLived } = new AbortController()
  for (let wait = 0; wait < 20; wait++) combineSignals(longLived, new AbortController().signal)
  expect(getEventListeners(longLived, 'abort')).toEqual([])
})
