import { expect, test } from 'vitest'
import {
  type ClockReading,
  compareClocks,
  correctFrequency,
  isClockRight,
} from '../../../src/channel/agent/guest-clock.js'

/** Builds a reading at a time of the host that took `tookMs`. */
const reading = (hostMs: number, guestMs: number, tookMs: number): ClockReading => ({
  beforeMs: hostMs - tookMs / 2,
  guestMs,
  afterMs: hostMs + tookMs / 2,
})

test.each<[string, number, number, number, boolean | undefined]>([
  ['the same speed', 1000, 1000, 4, true],
  ['1 % faster', 1000, 1010, 4, true],
  ['5 % faster', 1000, 1050, 4, false],
  ['5 % slower', 1000, 950, 4, false],
  ['36 times as fast, read on a host that is very busy', 1000, 36_000, 900, false],
  ['the same speed, in readings that took too long', 1000, 1000, 200, undefined],
  ['no time between the readings', 0, 1, 4, undefined],
])(
  'the clock rate is judged for %s: %d ms on the host, %d ms in the guest, readings of %d ms',
  (_, hostMs, guestMs, tookMs, expected) => {
    const rate = compareClocks(
      reading(5000, 70_000, tookMs),
      reading(5000 + hostMs, 70_000 + guestMs, tookMs),
    )
    expect(rate.min).toBeLessThanOrEqual(rate.max)
    expect(isClockRight(rate)).toBe(expected)
  },
)

test('a frequency is kept if the clock is right, corrected if it is wrong, and undefined if the reading is inconclusive', () => {
  expect(correctFrequency(2_000_000, { min: 0.999, mean: 1, max: 1.001 })).toBe(2_000_000)
  expect(correctFrequency(2_000_000, { min: 1.4, mean: 1.5, max: 1.6 })).toBe(3_000_000)
  expect(correctFrequency(2_000_000, { min: 0.9, mean: 1, max: 1.1 })).toBeUndefined()
})
