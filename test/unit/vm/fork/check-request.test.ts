import { expect, test } from 'vitest'
import { checkForkRequest } from '../../../../src/vm/fork/check-request.js'
import { failureOf } from '../../../support/failure-of.js'

const guests = ['a', 'b']

test('a valid request passes', () => {
  checkForkRequest(guests, 2, { name: 'child', identity: 'own', signal: new AbortController().signal })
  checkForkRequest(guests, 1, { name: undefined })
})

test.each([
  [['a', 'a'], 1, {}, 'one guest more than once'],
  [guests, 0, {}, '0'],
  [guests, 1.5, {}, '1.5'],
  [guests, 65, {}, '65'],
  [guests, { name: 'child' }, {}, '{"name":"child"}'],
  [guests, 1, null, 'null'],
  [guests, 1, { nam: 'child' }, 'nam'],
  [guests, 1, { name: 'a b' }, '"a b"'],
  [guests, 1, { identity: 'other' }, '"other"'],
  [guests, 1, { signal: true }, 'true'],
])('guests %j, number %j and options %j are invalid', async (list, count, options, got) => {
  const error = await failureOf((async () => checkForkRequest(list, count, options))())
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.details.got).toBe(got)
})

test('an unknown option is an error with the nearest name', async () => {
  const error = await failureOf((async () => checkForkRequest([], 1, { identty: 'same' }))())
  expect(error.message).toBe(`No guest was forked: an option is invalid.
  Expected: one of identity
  Got:      identty
Fix: Correct or omit the option \`identty\`.`)
})
