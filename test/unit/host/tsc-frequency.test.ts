import { expect, test } from 'vitest'
import { parseTscKhz, readTscKhz, rememberTscKhz } from '../../../src/host/tsc-frequency.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const cpuinfo = (flags: string, mhz = '2096.004') =>
  `processor\t: 0\ncpu MHz\t\t: ${mhz}\nflags\t\t: fpu tsc ${flags}\n\nprocessor\t: 1\n`

test.each([
  ['constant_tsc hypervisor tsc_known_freq', '2096.004', 2_096_004],
  ['constant_tsc hypervisor tsc_known_freq', '0.000', undefined],
  // The present speed of the processor, not that of the counter.
  ['constant_tsc hypervisor tsc_known_freq aperfmperf', '2096.004', undefined],
  ['constant_tsc nonstop_tsc', '800.000', undefined],
  ['constant_tsc hypervisor', '2096.004', undefined],
])('a host with the flags %s and %s MHz', (flags, mhz, expected) => {
  expect(parseTscKhz(cpuinfo(flags, mhz))).toBe(expected)
})

test('the absence of /proc/cpuinfo is no frequency', () => {
  expect(parseTscKhz('')).toBeUndefined()
})

test('a measured frequency is remembered; an impossible one is not', async () => {
  ownEnv({ WITHVM_CACHE: ownTmpdir() })
  await rememberTscKhz(2_298_123.4)
  expect(await readTscKhz()).toBe(2_298_123)
  await rememberTscKhz(Number.NaN)
  await rememberTscKhz(-5)
  expect(await readTscKhz()).toBe(2_298_123)
})
