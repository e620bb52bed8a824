import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseTscKhz, readTscKhz, rememberTscKhz } from '../../../src/host/tsc-frequency.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const cpuinfo = (flags: string, mhz = '2096.004') =>
  `processor\t: 0\ncpu MHz\t\t: ${mhz}\nflags\t\t: fpu tsc ${flags}\n\nprocessor\t: 1\n`

test.each([
  ['constant_tsc hypervisor tsc_known_freq', '2096.004', 2_096_004],
  ['constant_tsc hypervisor tsc_known_freq', '0.000', undefined],
  // The current frequency of the CPU, not of the counter.
  ['constant_tsc hypervisor tsc_known_freq aperfmperf', '2096.004', undefined],
  ['constant_tsc nonstop_tsc', '800.000', undefined],
  ['constant_tsc hypervisor', '2096.004', undefined],
])(
  'the flags %s with %s MHz yield a TSC frequency only if a hypervisor reports it',
  (flags, mhz, expected) => {
    expect(parseTscKhz(cpuinfo(flags, mhz))).toBe(expected)
  },
)

test('an empty /proc/cpuinfo yields no frequency', () => {
  expect(parseTscKhz('')).toBeUndefined()
})

function sources(files: { cpuinfo?: string; bootId?: string }) {
  const dir = ownTmpdir()
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content)
  return { cpuinfo: join(dir, 'cpuinfo'), bootId: join(dir, 'bootId') }
}

test('a measured frequency is cached until the next boot of the host, and an implausible one is ignored', async () => {
  ownEnv({ WITHVM_CACHE: ownTmpdir() })
  const host = sources({ bootId: 'first' })
  await rememberTscKhz(2_298_123.4, host)
  expect(await readTscKhz(host)).toBe(2_298_123)
  await rememberTscKhz(Number.NaN, host)
  await rememberTscKhz(-5, host)
  expect(await readTscKhz(host)).toBe(2_298_123)
  expect(await readTscKhz(sources({ bootId: 'second' }))).toBeUndefined()
})

test('a frequency that the hypervisor reports is used unless a measurement differs', async () => {
  ownEnv({ WITHVM_CACHE: ownTmpdir() })
  const host = sources({ bootId: 'first', cpuinfo: cpuinfo('constant_tsc hypervisor tsc_known_freq') })
  expect(await readTscKhz(host)).toBe(2_096_004)
  await rememberTscKhz(2_100_000, host) // within the tolerance
  expect(await readTscKhz(host)).toBe(2_096_004)
  await rememberTscKhz(3_000_000, host)
  expect(await readTscKhz(host)).toBe(3_000_000)
})

test('a measured frequency is not cached without a boot ID', async () => {
  ownEnv({ WITHVM_CACHE: ownTmpdir() })
  for (const host of [sources({}), sources({ bootId: '' })]) {
    await rememberTscKhz(2_298_123, host)
    expect(await readTscKhz(host)).toBeUndefined()
  }
})
