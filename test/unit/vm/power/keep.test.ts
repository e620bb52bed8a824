import { expect, test } from 'vitest'
import { resolveKeepMs } from '../../../../src/vm/power/keep.js'

const HOUR_MS = 3_600_000

test.each([
  [undefined, {}, undefined],
  [undefined, { WITHVM_KEEP: '' }, undefined],
  [undefined, { WITHVM_KEEP: '0' }, undefined],
  [undefined, { WITHVM_KEEP: '1' }, HOUR_MS],
  [undefined, { WITHVM_KEEP: '30m' }, HOUR_MS / 2],
  [true, {}, HOUR_MS],
  ['2h', { WITHVM_KEEP: '30m' }, 2 * HOUR_MS],
  [5000, {}, 5000],
  [false, { WITHVM_KEEP: '1' }, undefined],
] as const)('keepOnFailure: %j with %j in the environment is %j ms', (keepOnFailure, env, expected) => {
  expect(resolveKeepMs({ keepOnFailure }, env)).toBe(expected)
})

test.each(['yes', '30', '1d', '-1m', '99999h'])('WITHVM_KEEP=%s is rejected', (text) => {
  expect(() => resolveKeepMs({}, { WITHVM_KEEP: text })).toThrow(
    `The environment variable WITHVM_KEEP has an invalid value.\n  Expected: '1' or a duration ('30m', '2h'); '0' keeps no guest\n  Got:      '${text}'`,
  )
})
