import { expect, test } from 'vitest'
import { parseStatus } from '../../../../src/vm/power/cloud-init.js'

const stage = (extra: object = {}) => ({ errors: [], finished: 1, start: 0, ...extra })

test('the errors and warnings of all cloud-init stages are reported once', () => {
  const v1 = {
    datasource: 'DataSourceNoCloud',
    stage: null,
    init: stage({ errors: ['a'], recoverable_errors: { WARNING: ['w'], DEPRECATED: ['d'] } }),
    'modules-final': stage({ errors: ['a', 'b'] }),
  }
  expect(parseStatus(JSON.stringify({ v1 }))).toEqual({
    errors: ['a', 'b'],
    warnings: ['WARNING: w', 'DEPRECATED: d'],
  })
})

test('the report of an unfinished cloud-init is ignored', () => {
  expect(parseStatus('')).toBeUndefined()
  expect(parseStatus(JSON.stringify({ v1: { 'modules-final': stage({ finished: null }) } }))).toBeUndefined()
})

test.each(['{}', '{"v1":null}', '{"v1":[]}', '{"v1":{"modules-final":7}}', `{"v1":${'['.repeat(100_000)}`])(
  'an invalid cloud-init report is ignored: %s',
  (text) => {
    expect(parseStatus(text)).toBeUndefined()
  },
)

test('values that are not strings are ignored in a cloud-init report', () => {
  const v1 = {
    init: stage({ errors: 'all', recoverable_errors: { WARNING: 'w', DEPRECATED: ['d', 1, null] } }),
    config: stage({ errors: [{}, 'e'], recoverable_errors: 7 }),
    'modules-final': stage(),
  }
  expect(parseStatus(JSON.stringify({ v1 }))).toEqual({ errors: ['e'], warnings: ['DEPRECATED: d'] })
})
