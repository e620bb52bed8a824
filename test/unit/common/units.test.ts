import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../../src/common/duration.js'
import { formatBytes, parseMemorySize } from '../../../src/common/units.js'

test.each([
  [512, 512 * 1024 ** 2],
  ['512', 512 * 1024 ** 2],
  ['512M', 512 * 1024 ** 2],
  ['1.5G', 1.5 * 1024 ** 3],
  ['2GiB', 2 * 1024 ** 3],
  ['64 MB', 64 * 1024 ** 2],
  ['1048576k', 1024 ** 3],
])('memory %j is %d bytes', (size, bytes) => {
  expect(parseMemorySize(size)).toBe(bytes)
})

test.each([0, -1, '12x', '', 'M', '-5M', null, undefined, Number.POSITIVE_INFINITY])(
  '%j is not an amount of memory',
  (size) => {
    expect(parseMemorySize(size)).toBeUndefined()
  },
)

test.each([
  ['500ms', 500],
  ['1.5s', 1500],
  ['2m', 120_000],
  ['1h', 3_600_000],
  [250, 250],
])('the duration %j is %d ms', (duration, ms) => {
  expect(parseDuration(duration)).toBe(ms)
})

test.each([0, -1, '5', 'soon', '0s', null])('%j is not a duration', (duration) => {
  expect(parseDuration(duration)).toBeUndefined()
})

test('sizes and durations are formatted for readers', () => {
  expect([formatBytes(1.5 * 1024 ** 3), formatBytes(512 * 1024 ** 2), formatBytes(10)]).toEqual([
    '1.5 GiB',
    '512 MiB',
    '10 bytes',
  ])
  expect([
    formatDuration(850),
    formatDuration(2400),
    formatDuration(30_000),
    formatDuration(200_000),
  ]).toEqual(['850 ms', '2.4 s', '30 s', '3 min 20 s'])
})
