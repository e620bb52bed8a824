import { expect, test } from 'vitest'
import type { Duration } from '../../../src/common/duration.js'
import { resolveDuration } from '../../../src/common/resolve-duration.js'

test('a missing duration gets the default, and an invalid one is an error', () => {
  expect(resolveDuration('timeout', undefined)).toBeUndefined()
  expect(resolveDuration('timeout', '2s')).toBe(2000)
  for (const wrong of ['soon', 0, -1, null]) {
    expect(() => resolveDuration('timeout', wrong as Duration)).toThrow(
      `The option \`timeout\` is not a duration.
  Expected: milliseconds above 0, or a string such as '30s'
  Got:      ${JSON.stringify(wrong)}
Fix: Correct the option.`,
    )
  }
})
