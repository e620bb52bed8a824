import { type MemorySize, parseMemorySize } from '../../common/units.js'
import type { MachineSpec } from '../machine-spec.js'
import type { ClockOptions, MachineOptions, MemoryOptions } from '../options/machine.js'

/** The number of CPUs is the given one, or the product of the topology. */
export function resolveCpus(
  cpus: MachineOptions['cpus'],
  fallback: number,
): Pick<MachineSpec, 'cpus' | 'topology'> {
  if (typeof cpus !== 'object') return { cpus: cpus ?? fallback, topology: {} }
  const { count, ...topology } = cpus
  return { cpus: count ?? topology.maxcpus ?? countTopology(topology) ?? fallback, topology }
}

/** Returns the product of sockets, dies, cores and threads, or undefined if none is given. */
export function countTopology(
  topology: Exclude<MachineOptions['cpus'], number | undefined>,
): number | undefined {
  const { sockets, dies, cores, threads } = topology
  const given = [sockets, dies, cores, threads].filter((count) => count !== undefined)
  return given.length === 0 ? undefined : given.reduce((product, count) => product * count, 1)
}

/**
 * A clock that starts at a date does not follow changes of the host's clock. In a clone, a clock
 * that follows the host's would include the age of the template.
 */
export function resolveClock(options: ClockOptions = {}): ClockOptions {
  return hasFixedBase(options) ? { ...options, clock: options.clock ?? 'rt' } : options
}

/** Returns true if the clock starts at a given date instead of the present time. */
export function hasFixedBase({ base }: ClockOptions): boolean {
  return base !== undefined && base !== 'utc' && base !== 'localtime'
}

/** The memory size is the given one, or the total of the NUMA nodes. */
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
  const nodeBytes = numa.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  const maxBytes = parseMemorySize(max)
  return {
    memoryBytes: parseMemorySize(size) ?? (nodeBytes || fallback),
    memoryGrowth: maxBytes === undefined ? undefined : { maxBytes, slots: slots ?? DEFAULT_SLOTS },
    memoryBacking: Object.fromEntries(
      Object.entries(backing).filter(([name, value]) => value !== (name === 'merge')),
    ),
    numa,
  }
}

export function readMemory(memory: MemorySize | MemoryOptions | undefined): MemoryOptions {
  return typeof memory === 'object' && memory !== null ? memory : memory === undefined ? {} : { size: memory }
}

/**
 * Default number of memory slots: enough for typical tests; a slot costs the firmware almost
 * nothing.
 */
const DEFAULT_SLOTS = 8
