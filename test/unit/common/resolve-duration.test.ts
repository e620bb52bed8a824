import { expect, test } from 'vitest'
import type { Duration } from '../../../src/common/duration.js'
import { resolveDuration } from '../../../src/common/resolve-duration.js'

test('what was not given is left to the default, and what is no duration is not', () => {
  expect(resolveDuration('timeout', undefined)).toBeUndefined()
  expect(resolveDuration('timeout', '2s')).toBe(2000)
  for (const wrong of ['soon', 0, -1, null]) {
    expect(() => resolveDuration('timeout', wrong as Duration)).toThrow(
      `The option \`timeout\` cannot be used.
  Expected: milliseconds above 0, or a text such as '30s'
  Got:      ${JSON.stringify(wrong)}
Fix: correct it.`,
    )
  }
})
