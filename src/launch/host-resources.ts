import { readFile } from 'node:fs/promises'
import { currentUserName } from '../common/process/current-user.js'
import type { HostUser } from '../common/process/host-user.js'
import { formatBytes, parseMemorySize } from '../common/units.js'
import type { HostNodes } from '../spec/options/machine.js'
import type { NetworkOptions } from '../spec/options/network.js'
import type { VMOptions } from '../spec/options.js'
import { readMemory } from '../spec/resolve/resolve-machine.js'
import type { OptionProblem } from '../spec/validate-options.js'

/** Where the kernel tells of itself, and who asks. */
export interface HostView {
  readonly read: (path: string) => Promise<string | undefined>
  readonly user: { readonly uid: number; readonly name: string }
}

/** This host, as that user sees it; without one, as who runs this process. */
export function viewHost(user: HostUser | undefined): HostView {
  return {
    read: (path) => readFile(path, 'utf8').catch(() => undefined),
    get user() {
      return user ?? { uid: process.geteuid?.() ?? -1, name: currentUserName() }
    },
  }
}

/** What of the options needs of this host's kernel what it does not give. Values of a wrong type are passed over. */
export async function findResourceProblems<VM>(
  options: VMOptions<VM>,
  host: HostView,
): Promise<OptionProblem[]> {
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

async function checkHugePages<VM>(options: VMOptions<VM>, { read }: HostView): Promise<OptionProblem[]> {
  const { hugePages, size } = readMemory(options.memory)
  if (hugePages !== true && hugePages !== '2M' && hugePages !== '1G') return []
  const pageBytes = hugePages === '1G' ? 1024 ** 3 : 2 * 1024 ** 2
  const bytes = parseMemorySize(size)
  if (bytes !== undefined && bytes % pageBytes !== 0) {
    const expected = `a multiple of ${formatBytes(pageBytes)}, as much as a huge page has`
    return [{ path: 'memory.size', got: formatBytes(bytes), expected }]
  }
  const needed = bytes === undefined ? 1 : bytes / pageBytes
  const folder = `/sys/kernel/mm/hugepages/hugepages-${pageBytes / 1024}kB`
  const free = Number(await read(`${folder}/free_hugepages`)) || 0
  if (free >= needed) return []
  const got = `${free} huge pages of ${formatBytes(pageBytes)} that are free on this host`
  const expected = `at least ${needed}: \`echo ${needed} | sudo tee ${folder}/nr_hugepages\` gets some`
  return [{ path: 'memory.hugePages', got, expected }]
}

/** What is bound to a node that the host has not is an error of QEMU's that names nothing. */
async function checkHostNodes<VM>(options: VMOptions<VM>, { read }: HostView): Promise<OptionProblem[]> {
  const nodes: readonly unknown[] = Array.isArray(options.numa) ? options.numa : []
  const places = [
    { path: 'memory.hostNodes', wanted: readMemory(options.memory).hostNodes },
    ...nodes.map((node, index) => {
      return { path: `numa[${index}].hostNodes`, wanted: (node as HostNodes | null)?.hostNodes }
    }),
  ].filter((place): place is { path: string; wanted: readonly number[] } => Array.isArray(place.wanted))
  if (places.length === 0) return []
  const online = (await read('/sys/devices/system/node/has_memory'))?.trim() ?? ''
  const has = (wanted: number) =>
    online.split(',').some((range) => {
      const [first, last = first] = range.split('-')
      return range !== '' && wanted >= Number(first) && wanted <= Number(last)
    })
  return places.flatMap(({ path, wanted }) => {
    const missing = wanted.filter((node) => !has(node))
    const got = `${missing.join(', ')}, which this host has no memory at`
    const expected = online === '' ? 'a kernel with NUMA' : `nodes of this host: ${online}`
    return missing.length === 0 ? [] : [{ path, got, expected }]
  })
}

/** Whoever is not root may lock as much as `ulimit -l` says. */
async function checkLock<VM>(options: VMOptions<VM>, { read, user }: HostView): Promise<OptionProblem[]> {
  const { lock, size } = readMemory(options.memory)
  if (lock !== true || user.uid === 0) return []
  const limits = (await read('/proc/self/limits')) ?? ''
  const [, limit = 'unlimited'] = /^Max locked memory\s+(\S+)/m.exec(limits) ?? []
  const needed = parseMemorySize(size) ?? 0
  // QEMU locks what it uses itself too.
  if (limit === 'unlimited' || Number(limit) > needed * 1.5) return []
  const expected = `more memory that may be locked than the guest has: \`ulimit -l\`, or memlock in /etc/security/limits.conf`
  return [{ path: 'memory.lock', got: `a limit of ${formatBytes(Number(limit))}`, expected }]
}

async function checkTap(path: string, tap: string, { read, user }: HostView): Promise<OptionProblem[]> {
  const isTap = (await read(`/sys/class/net/${tap}/tun_flags`)) !== undefined
  const add = `\`sudo ip tuntap add dev ${tap} mode tap user ${user.name}\``
  if (!isTap)
    return [
      {
        path,
        got: `"${tap}", which is no TAP interface of this host`,
        expected: `one that is there: ${add} adds it`,
      },
    ]
  const owner = Number(await read(`/sys/class/net/${tap}/owner`))
  if (user.uid === 0 || owner === user.uid) return []
  return [
    {
      path,
      got: `"${tap}", which this user may not open`,
      expected: `one of ${user.name}'s own: ${add} makes one`,
    },
  ]
}
