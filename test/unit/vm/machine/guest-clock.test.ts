import { expect, test } from 'vitest'
import { GuestClock } from '../../../../src/vm/machine/guest-clock.js'

const NOW = Date.UTC(2026, 10, 30, 12)

test.each([
  [{}, NOW, false],
  [{ base: 'utc' }, NOW, false],
  [{ base: 'localtime' }, NOW - new Date(NOW).getTimezoneOffset() * 60_000, false],
  [{ base: '2030-01-31' }, Date.UTC(2030, 0, 31), true],
  [{ base: '2030-01-31T12:00:01' }, Date.UTC(2030, 0, 31, 12, 0, 1), true],
])(
  'the clock of a guest with %j starts at %i and advances with the clock of the host',
  (rtc, start, isFixed) => {
    const clock = new GuestClock(rtc)
    expect(clock.start(NOW)).toBe(start)
    expect(clock.now(NOW + 5000)).toBe(start + 5000)
    expect(clock.start(NOW + 9000)).toBe(isFixed ? start : start + 9000)
  },
)
