import { resolveCacheDir } from '../common/cache-dir.js'
import { askQemu, isText, type Json, listOf } from './ask-qemu.js'
import { openHostCache } from './host-cache.js'
import type { QemuBinary } from './qemu-binary.js'

/** What a QEMU binary is built with, by its own account. */
export interface QemuCapabilities {
  /** Machines, and the other names that they have: `pc` for the newest `pc-i440fx-…`. */
  readonly machines: readonly string[]
  /** Machines that QEMU will drop. */
  readonly deprecatedMachines: readonly string[]
  /** Undefined where this QEMU does not tell, as that for RISC-V or SPARC. */
  readonly cpus: readonly string[] | undefined
  readonly devices: readonly string[]
  /** `tcg`, `kvm`, and whatever else there is. */
  readonly accelerators: readonly string[]
  /** `-netdev user`: without it guests have no network. */
  readonly hasUserNetwork: boolean
  /** `-sandbox`. */
  readonly hasSandbox: boolean
  /** `-run-with exit-with-parent=on`, from QEMU 10.2. */
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
 * Asks a QEMU binary once what it is built with; the answer is remembered as long as the binary does not change.
 *
 * @throws {InfrastructureError} QEMU_FAILED when it does not answer.
 */
export async function queryCapabilities(
  qemu: QemuBinary,
  options: CapabilityOptions = {},
): Promise<QemuCapabilities> {
  const cache = openHostCache(options.cacheDir ?? resolveCacheDir())
  const fact = `qemu-capabilities-1-${qemu.identity}`
  const known = await cache.read(fact, parseCapabilities)
  if (known !== undefined) return known
  const capabilities = await askQemu(qemu, QUERIES, readAnswers, options.signal)
  await cache.write(fact, capabilities)
  return capabilities
}

function readAnswers(answers: ReadonlyMap<string, Json>): QemuCapabilities | undefined {
  const [machines, cpus, devices, accelerators, options] = [
    'machines',
    'cpus',
    'devices',
    'accelerators',
    'options',
  ].map((id) => listOf(answers.get(id)?.return))
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
    hasUserNetwork: answers.get('network')?.return !== undefined,
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
  const isGood =
    lists.every((list) => Array.isArray(list) && list.every(isText)) &&
    flags.every((flag) => typeof flag === 'boolean')
  return isGood ? (fact as QemuCapabilities) : undefined
}
