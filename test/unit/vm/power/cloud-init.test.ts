import { expect, test } from 'vitest'
import type { SshClient } from '../../../../src/channel/ssh/ssh-client.js'
import type { Machine } from '../../../../src/vm/machine/machine.js'
import { parseStatus, waitForCloudInit } from '../../../../src/vm/power/cloud-init.js'

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

test('twenty warnings of cloud-init are logged, and the number of the others', async () => {
  const WARNING = Array.from({ length: 1000 }, (_, index) => `w${index}`)
  const status = { v1: { 'modules-final': stage({ recoverable_errors: { WARNING } }) } }
  const lines: string[] = []
  const machine = {
    spec: { name: 'g' },
    owner: { log: (line: string) => lines.push(line) },
  } as unknown as Machine
  const client = {
    exec: async () => ({ stdout: JSON.stringify(status), exitCode: 0 }),
  } as unknown as SshClient
  await waitForCloudInit(machine, client, new AbortController().signal)
  expect(lines).toHaveLength(21)
  expect(lines[19]).toBe("cloud-init in 'g': WARNING: w19")
  expect(lines[20]).toBe("cloud-init in 'g': 980 more warnings")
})
