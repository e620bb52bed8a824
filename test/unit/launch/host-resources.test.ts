import { expect, test } from 'vitest'
import { findResourceProblems } from '../../../src/launch/host-resources.js'
import type { VMOptions } from '../../../src/spec/options.js'

const HUGE = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'
const LIMITS =
  'Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608              8388608              bytes\n'

const find = async (options: VMOptions, files: Readonly<Record<string, string>>, uid = 1000) => {
  const host = { read: async (path: string) => files[path], user: { uid, name: 'ada' } }
  return (await findResourceProblems(options, host)).map(
    ({ path, got, expected }) => `${path}: ${got}; ${expected}`,
  )
}

test.each<[VMOptions, Readonly<Record<string, string>>, string]>([
  [
    { memory: { size: '256M', hugePages: true } },
    { [HUGE]: '5\n' },
    'memory.hugePages: 5 free huge pages of 2 MiB on this host; at least 128 (run `echo 128 | sudo tee /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`)',
  ],
  [
    { memory: { hugePages: '1G' } },
    {},
    'memory.hugePages: 0 free huge pages of 1 GiB on this host; at least 1 (run `echo 1 | sudo tee /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages`)',
  ],
  [
    { memory: { size: '255M', hugePages: true } },
    { [HUGE]: '500\n' },
    'memory.size: 255 MiB; a multiple of the huge page size, 2 MiB',
  ],
  [
    { memory: { size: '256M', lock: true } },
    { '/proc/self/limits': LIMITS },
    'memory.lock: a limit of 8 MiB; a limit above the memory of the guest (raise `ulimit -l`, or memlock in /etc/security/limits.conf)',
  ],
  [
    { memory: { hostNodes: [0, 2] } },
    { '/sys/devices/system/node/has_memory': '0-1\n' },
    'memory.hostNodes: 2, without memory on this host; NUMA nodes of this host (0-1)',
  ],
  [
    { numa: [{ memory: '64M' }, { memory: '64M', hostNodes: [4] }] },
    { '/sys/devices/system/node/has_memory': '0,3\n' },
    'numa[1].hostNodes: 4, without memory on this host; NUMA nodes of this host (0,3)',
  ],
  [
    { memory: { hostNodes: [0] } },
    {},
    'memory.hostNodes: 0, without memory on this host; a kernel with NUMA support',
  ],
  [
    { network: [{}, { tap: 'tap7' }] },
    {},
    'network[1].tap: "tap7", which is not a TAP interface of this host; an existing TAP interface (create it with `sudo ip tuntap add dev tap7 mode tap user ada`)',
  ],
  [
    { network: [{}, { tap: 'tap7' }] },
    { '/sys/class/net/tap7/tun_flags': '0x1002\n', '/sys/class/net/tap7/owner': '0\n' },
    'network[1].tap: "tap7", which ada cannot open; a TAP interface owned by ada (create it with `sudo ip tuntap add dev tap7 mode tap user ada`)',
  ],
])(
  'the problem of %j names the missing resource and the command that provides it',
  async (options, files, problem) => {
    expect(await find(options, files)).toEqual([problem])
  },
)

test('available resources are not a problem, and root may lock all memory', async () => {
  const files = {
    [HUGE]: '128\n',
    '/sys/class/net/tap7/tun_flags': '0x1002\n',
    '/sys/class/net/tap7/owner': '1000\n',
    '/proc/self/limits': LIMITS,
  }
  expect(
    await find({ memory: { size: '256M', hugePages: true }, network: [{}, { tap: 'tap7' }] }, files),
  ).toEqual([])
  expect(await find({ memory: { size: '256M', lock: true } }, files, 0)).toEqual([])
})
