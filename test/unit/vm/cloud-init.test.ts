import { expect, test } from 'vitest'
import { parseStatus } from '../../../src/vm/cloud-init.js'

const stage = (extra: object = {}) => ({ errors: [], finished: 1, start: 0, ...extra })

test('the errors and the warnings of all stages are told once', () => {
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

test('one that did not come to its end is none', () => {
  expect(parseStatus('')).toBeUndefined()
  expect(parseStatus(JSON.stringify({ v1: { 'modules-final': stage({ finished: null }) } }))).toBeUndefined()
})
