import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { readCgroupLimits } from '../../../src/host/cgroup.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

function hostWith(files: Readonly<Record<string, string>>): string {
  const root = ownTmpdir()
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), `${text}\n`)
  }
  return root
}

test('cgroup v2: the tightest limit of all ancestor groups applies, and the page cache counts as free', () => {
  const root = hostWith({
    'proc/self/cgroup': '0::/ci.slice/job',
    'sys/fs/cgroup/ci.slice/memory.max': '4000',
    'sys/fs/cgroup/ci.slice/memory.current': '3500',
    'sys/fs/cgroup/ci.slice/memory.stat': 'anon 5\ninactive_file 100',
    'sys/fs/cgroup/ci.slice/cpu.max': '150000 100000',
    'sys/fs/cgroup/ci.slice/job/memory.max': 'max',
    'sys/fs/cgroup/ci.slice/job/cpu.max': 'max 100000',
  })
  expect(readCgroupLimits(root)).toEqual({ memoryBytes: 4000, freeBytes: 600, processors: 1.5 })
})

test('cgroup v1: limits are read per controller, from the root in a container', () => {
  const root = hostWith({
    'proc/self/cgroup': '5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '1000',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': '900',
    'sys/fs/cgroup/memory/memory.stat': 'inactive_file 1\ntotal_inactive_file 300',
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '50000',
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
  })
  expect(readCgroupLimits(root)).toEqual({ memoryBytes: 1000, freeBytes: 400, processors: 0.5 })
})

test('`readCgroupLimits()` returns no limits without limits or control groups', () => {
  const unlimited = hostWith({
    'proc/self/cgroup': '4:memory:/\n1:cpu:/',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
    'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1',
  })
  expect(readCgroupLimits(unlimited)).toEqual({})
  expect(readCgroupLimits(ownTmpdir())).toEqual({})
})
