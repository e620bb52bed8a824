import { readFile } from 'node:fs/promises'
import { currentUserName } from '../common/process/current-user.js'
import type { HostUser } from '../common/process/host-user.js'
import { formatBytes, GIB, KIB, MIB, parseMemorySize } from '../common/units.js'
import type { HostNodes } from '../spec/options/machine.js'
import type { NetworkOptions } from '../spec/options/network.js'
import type { VMOptions } from '../spec/options.js'
import { readMemory } from '../spec/resolve/resolve-machine.js'
import type { OptionProblem } from '../spec/validate-options.js'

/** Access to procfs and sysfs, and the user that QEMU runs as. */
export interface HostView {
  readonly read: (path: string) => Promise<string | undefined>
  readonly user: { readonly uid: number; readonly name: string }
}

/** Returns the view of a user on this host. @default the user of this process */
export function viewHost(user: HostUser | undefined): HostView {
  return {
    read: (path) => readFile(path, 'utf8').catch(() => undefined),
    get user() {
      return user ?? { uid: process.geteuid?.() ?? -1, name: currentUserName() }
    },
  }
}

/**
 * Finds options that need resources which the kernel of this host does not provide. Skips values of
 * a wrong type.
 */
export async function findResourceProblems(options: VMOptions, host: HostView): Promise<OptionProblem[]> {
  const problems = await Promise.all([
    checkHugePages(options, host),
    checkLock(options, host),
    checkHostNodes(options, host),
    ...[options.network ?? []].flat().map((card: unknown, index) => {
      const path = Array.isArray(options.network) ? `network[${index}].tap` : 'network.tap'
      const { tap } = (card ?? {}) as NetworkOptions
      return typeof tap === 'string' && /^[\w.-]+$/.test(tap) ? checkTap(path, tap, host) : []
    }),
  ])
  return problems.flat()
}

async function checkHugePages(options: VMOptions, { read }: HostView): Promise<OptionProblem[]> {
  const { hugePages, size } = readMemory(options.memory)
  if (hugePages !== true && hugePages !== '2M' && hugePages !== '1G') return []
  const pageBytes = hugePages === '1G' ? GIB : 2 * MIB
  const bytes = parseMemorySize(size)
  if (bytes !== undefined && bytes % pageBytes !== 0) {
    const expected = `a multiple of the huge page size, ${formatBytes(pageBytes)}`
    return [{ path: 'memory.size', got: formatBytes(bytes), expected }]
  }
  const needed = bytes === undefined ? 1 : bytes / pageBytes
  const folder = `/sys/kernel/mm/hugepages/hugepages-${pageBytes / KIB}kB`
  const free = Number(await read(`${folder}/free_hugepages`)) || 0
  if (free >= needed) return []
  const got = `${free} free huge pages of ${formatBytes(pageBytes)} on this host`
  const expected = `at least ${needed} (run \`echo ${needed} | sudo tee ${folder}/nr_hugepages\`)`
  return [{ path: 'memory.hugePages', got, expected }]
}

/** Checks `hostNodes`. The error of QEMU for an unknown NUMA node does not name the node. */
async function checkHostNodes(options: VMOptions, { read }: HostView): Promise<OptionProblem[]> {
  const nodes: readonly unknown[] = Array.isArray(options.numa) ? options.numa : []
  const bindings = [
    { path: 'memory.hostNodes', wanted: readMemory(options.memory).hostNodes },
    ...nodes.map((node, index) => {
      return { path: `numa[${index}].hostNodes`, wanted: (node as HostNodes | null)?.hostNodes }
    }),
  ].filter((binding): binding is { path: string; wanted: readonly number[] } => Array.isArray(binding.wanted))
  if (bindings.length === 0) return []
  const online = (await read('/sys/devices/system/node/has_memory'))?.trim() ?? ''
  const has = (wanted: number) =>
    online.split(',').some((range) => {
      const [first, last = first] = range.split('-')
      return range !== '' && wanted >= Number(first) && wanted <= Number(last)
    })
  return bindings.flatMap(({ path, wanted }) => {
    const missing = wanted.filter((node) => !has(node))
    const got = `${missing.join(', ')}, without memory on this host`
    const expected = online === '' ? 'a kernel with NUMA support' : `NUMA nodes of this host (${online})`
    return missing.length === 0 ? [] : [{ path, got, expected }]
  })
}

/** Checks `memory.lock`. Users other than root may lock at most `ulimit -l`. */
async function checkLock(options: VMOptions, { read, user }: HostView): Promise<OptionProblem[]> {
  const { lock, size } = readMemory(options.memory)
  if (lock !== true || user.uid === 0) return []
  const limits = (await read('/proc/self/limits')) ?? ''
  const [, limit = 'unlimited'] = /^Max locked memory\s+(\S+)/m.exec(limits) ?? []
  const needed = parseMemorySize(size) ?? 0
  // QEMU locks its own memory too.
  if (limit === 'unlimited' || Number(limit) > needed * 1.5) return []
  const expected = `a limit above the memory of the guest (raise \`ulimit -l\`, or memlock in /etc/security/limits.conf)`
  return [{ path: 'memory.lock', got: `a limit of ${formatBytes(Number(limit))}`, expected }]
}

async function checkTap(path: string, tap: string, { read, user }: HostView): Promise<OptionProblem[]> {
  const isTap = (await read(`/sys/class/net/${tap}/tun_flags`)) !== undefined
  const add = `\`sudo ip tuntap add dev ${tap} mode tap user ${user.name}\``
  if (!isTap)
    return [
      {
        path,
        got: `"${tap}", which is not a TAP interface of this host`,
        expected: `an existing TAP interface (create it with ${add})`,
      },
    ]
  const owner = Number(await read(`/sys/class/net/${tap}/owner`))
  if (user.uid === 0 || owner === user.uid) return []
  return [
    {
      path,
      got: `"${tap}", which ${user.name} cannot open`,
      expected: `a TAP interface owned by ${user.name} (create it with ${add})`,
    },
  ]
}
