import { type MemorySize, parseMemorySize } from '../../common/units.js'
import type { MachineSpec } from '../machine-spec.js'
import type { MachineOptions, MemoryOptions } from '../options/machine.js'

/** How many CPUs there are is what was said, or as many as the arrangement makes. */
export function resolveCpus(
  cpus: MachineOptions['cpus'],
  fallback: number,
): Pick<MachineSpec, 'cpus' | 'topology'> {
  if (typeof cpus !== 'object') return { cpus: cpus ?? fallback, topology: {} }
  const { count, ...topology } = cpus
  return { cpus: count ?? topology.maxcpus ?? countArranged(topology) ?? fallback, topology }
}

/** How many CPUs the sockets, dies, cores and threads make; undefined where none of them is said. */
export function countArranged(
  topology: Exclude<MachineOptions['cpus'], number | undefined>,
): number | undefined {
  const { sockets, dies, cores, threads } = topology
  const said = [sockets, dies, cores, threads].filter((count) => count !== undefined)
  return said.length === 0 ? undefined : said.reduce((product, count) => product * count, 1)
}

/** The memory of NUMA nodes is the guest's, where nothing else says how much that is. */
export function resolveMemory(
  options: Pick<MachineOptions, 'memory' | 'numa'>,
  fallback: number,
): Pick<MachineSpec, 'memoryBytes' | 'memoryGrowth' | 'memoryBacking' | 'numa'> {
  const { size, max, slots, ...backing } = readMemory(options.memory)
  const numa = (options.numa ?? []).map(({ memory, cpus = [], ...host }) => ({
    memoryBytes: parseMemorySize(memory) ?? 0,
    cpus,
    ...host,
  }))
  const ofNodes = numa.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  const mostBytes = parseMemorySize(max)
  return {
    memoryBytes: parseMemorySize(size) ?? (ofNodes || fallback),
    memoryGrowth: mostBytes === undefined ? undefined : { mostBytes, slots: slots ?? DEFAULT_SLOTS },
    memoryBacking: Object.fromEntries(
      Object.entries(backing).filter(([name, value]) => value !== (name === 'merge')),
    ),
    numa,
  }
}

export function readMemory(memory: MemorySize | MemoryOptions | undefined): MemoryOptions {
  return typeof memory === 'object' && memory !== null ? memory : memory === undefined ? {} : { size: memory }
}

/** Room for some pieces of memory: each slot costs the firmware next to nothing. */
const DEFAULT_SLOTS = 8
