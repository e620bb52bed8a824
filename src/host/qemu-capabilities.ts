import { resolveCacheDir } from '../common/cache-dir.js'
import { openHostCache } from './host-cache.js'
import type { QemuBinary } from './qemu-binary.js'
import { isText, type Json, listOf, queryQemu } from './query-qemu.js'

/** Capabilities of a QEMU binary, as reported over QMP. */
export interface QemuCapabilities {
  /** Machine types and their aliases, such as `pc` for the newest `pc-i440fx-…`. */
  readonly machines: readonly string[]
  /** Deprecated machine types. */
  readonly deprecatedMachines: readonly string[]
  /** CPU models. Undefined if QEMU does not report them, such as for RISC-V and SPARC. */
  readonly cpus: readonly string[] | undefined
  readonly devices: readonly string[]
  /** `tcg`, `kvm` and other accelerators. */
  readonly accelerators: readonly string[]
  /** Support for `-netdev user`, which guests need for networking. */
  readonly hasUserNetwork: boolean
  /** Support for `-sandbox`. */
  readonly hasSandbox: boolean
  /** Support for `-run-with exit-with-parent=on` (QEMU 10.2). */
  readonly canExitWithParent: boolean
}

export interface CapabilityOptions {
  readonly cacheDir?: string | undefined
  readonly signal?: AbortSignal | undefined
}

const QUERIES = [
  { id: 'machines', execute: 'query-machines' },
  { id: 'cpus', execute: 'query-cpu-definitions' },
  { id: 'devices', execute: 'qom-list-types', arguments: { implements: 'device', abstract: false } },
  { id: 'accelerators', execute: 'qom-list-types', arguments: { implements: 'accel' } },
  { id: 'options', execute: 'query-command-line-options' },
  { id: 'network', execute: 'netdev_add', arguments: { type: 'user', id: 'probe' } },
] as const

/**
 * Queries the capabilities of a QEMU binary. The result is cached until the binary changes.
 *
 * @throws {InfrastructureError} QEMU_FAILED when QEMU does not respond.
 */
export async function queryCapabilities(
  qemu: QemuBinary,
  options: CapabilityOptions = {},
): Promise<QemuCapabilities> {
  const cache = openHostCache(options.cacheDir ?? resolveCacheDir())
  const fact = `qemu-capabilities-1-${qemu.fingerprint}`
  const known = await cache.read(fact, parseCapabilities)
  if (known !== undefined) return known
  const capabilities = await queryQemu(qemu, QUERIES, parseResponses, options.signal)
  await cache.write(fact, capabilities)
  return capabilities
}

function parseResponses(responses: ReadonlyMap<string, Json>): QemuCapabilities | undefined {
  const [machines, cpus, devices, accelerators, options] = [
    'machines',
    'cpus',
    'devices',
    'accelerators',
    'options',
  ].map((id) => listOf(responses.get(id)?.return))
  if (!machines || !devices || !accelerators || !options) return undefined
  const runWith = options.find(({ option }) => option === 'run-with')
  return {
    machines: machines.flatMap(({ name, alias }) => [name, alias]).filter(isText),
    deprecatedMachines: machines
      .filter(({ deprecated }) => deprecated === true)
      .map(({ name }) => String(name)),
    cpus: cpus?.map(({ name }) => name).filter(isText),
    devices: devices.map(({ name }) => name).filter(isText),
    accelerators: accelerators
      .map(({ name }) => /^(.+)-accel$/.exec(String(name))?.[1])
      .filter(isText)
      .sort(),
    hasUserNetwork: responses.get('network')?.return !== undefined,
    hasSandbox: options.some(({ option }) => option === 'sandbox'),
    canExitWithParent: (listOf(runWith?.parameters) ?? []).some(({ name }) => name === 'exit-with-parent'),
  }
}

function parseCapabilities(value: unknown): QemuCapabilities | undefined {
  const fact = value as Partial<QemuCapabilities> | null
  const lists = [
    fact?.machines,
    fact?.deprecatedMachines,
    fact?.cpus ?? [],
    fact?.devices,
    fact?.accelerators,
  ]
  const flags = [fact?.hasUserNetwork, fact?.hasSandbox, fact?.canExitWithParent]
  const isValid =
    lists.every((list) => Array.isArray(list) && list.every(isText)) &&
    flags.every((flag) => typeof flag === 'boolean')
  return isValid ? (fact as QemuCapabilities) : undefined
}
