import { expect, test } from 'vitest'
import { matchText } from '../../../src/common/match-text.js'

test('text is matched by a string literally and by a pattern anywhere', () => {
  expect(matchText('a+b', 'a+b')).toBe(true)
  expect(matchText('aab', 'a+b')).toBe(false)
  expect(matchText('1\nOK', /^ok$/im)).toBe(true)
})

test('a pattern with the flags g and y matches the same text each time', () => {
  const pattern = /ready/gy
  const results = [1, 2, 3].map(() => matchText('is ready', pattern))
  expect(results).toEqual([true, true, true])
  expect(pattern.lastIndex).toBe(0)
})
