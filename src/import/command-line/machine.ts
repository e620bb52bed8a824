import { parseNumberRange } from '../../common/number-range.js'
import { KIB } from '../../common/units.js'
import type { CpuTopology, HostNodes, NumaNode } from '../../spec/options/machine.js'
import type { VMOptions } from '../../spec/options.js'
import type { Draft, ParsedOption } from './draft.js'
import { formatParameters, lastValue, type Parameters, parseParameters } from './parameters.js'
import type { Readers } from './readers.js'

type Accel = NonNullable<VMOptions['accel']>

const ACCELS: Readonly<Record<string, Accel>> = { kvm: 'kvm', tcg: 'tcg', 'kvm:tcg': 'auto' }
/** Machine properties that withvm sets itself. */
const OWN_PROPERTIES = [
  'graphics=off',
  'dump-guest-core=off',
  'usb=off',
  'vmport=off',
  'smbus=off',
  'smm=on',
  'memory-backend=ram',
]

function readMachine(draft: Draft, given: ParsedOption): void {
  const rest: Array<readonly [string, string]> = []
  for (const [key, value] of parseParameters(given.value, 'type')) {
    if (key === 'type') draft.options.machine = value
    else if (key === 'accel') readAccel(draft, given, value)
    else if (!OWN_PROPERTIES.includes(`${key}=${value}`)) rest.push([key, value])
  }
  if (rest.length > 0) draft.keep({ flag: 'machine', value: formatParameters(rest) })
}

function readAccel(draft: Draft, given: ParsedOption, name: string): void {
  const accel = ACCELS[name]
  draft.options.accel = accel ?? 'auto'
  if (accel === undefined) {
    draft.translate(given, "accel: 'auto'", 'withvm supports KVM and TCG, and selects the one that works')
  }
}

function readAccelOption(draft: Draft, given: ParsedOption): void {
  const [[, name] = ['', ''], ...rest] = parseParameters(given.value, 'accel')
  readAccel(draft, given, name)
  if (rest.length > 0) {
    draft.translate(
      given,
      `accel: '${draft.options.accel}'`,
      'withvm sets the accelerator itself, without properties',
    )
  }
}

const TOPOLOGY = ['maxcpus', 'sockets', 'dies', 'cores', 'threads'] as const

function readSmp(draft: Draft, given: ParsedOption): void {
  const parameters = parseParameters(given.value, 'cpus')
  if (parameters.some(([key]) => key !== 'cpus' && !TOPOLOGY.includes(key as never)))
    return void draft.keep(given)
  const number = (key: string) => {
    const value = lastValue(parameters, key)
    return value === undefined ? {} : { [key === 'cpus' ? 'count' : key]: Number(value) }
  }
  const cpus: CpuTopology = Object.assign({}, ...['cpus', ...TOPOLOGY].map(number))
  draft.options.cpus = Object.keys(cpus).join() === 'count' ? (cpus.count as number) : cpus
}

function readMemory(draft: Draft, given: ParsedOption): void {
  const parameters = parseParameters(given.value, 'size')
  const size = lastValue(parameters, 'size')
  const max = lastValue(parameters, 'maxmem')
  const slots = lastValue(parameters, 'slots')
  if (max === undefined && slots === undefined) {
    if (size !== undefined) draft.options.memory = toSize(size)
    return
  }
  draft.options.memory = {
    ...(size === undefined ? {} : { size: toSize(size) }),
    ...(max === undefined ? {} : { max: toSize(max, 'B') }),
    ...(slots === undefined ? {} : { slots: Number(slots) }),
  }
}

/**
 * Converts a size. A plain number is in MiB for `-m`, and in bytes elsewhere. The validation
 * rejects invalid text.
 */
function toSize(text: string, unit: 'M' | 'B' = 'M'): string {
  if (/^\d+$/.test(text)) return unit === 'M' ? `${text}M` : `${Number(text) / KIB}K`
  return text.replace(/[kmgtb]$/, (letter) => letter.toUpperCase())
}

function readRtc(draft: Draft, given: ParsedOption): void {
  const rest: Array<readonly [string, string]> = []
  for (const [key, value] of parseParameters(given.value)) {
    if (key === 'base' || key === 'clock') draft.options.rtc = { ...draft.options.rtc, [key]: value }
    else rest.push([key, value])
  }
  if (rest.length > 0) draft.keep({ flag: 'rtc', value: formatParameters(rest) })
}

function readStart(draft: Draft, given: ParsedOption, base: string): void {
  draft.options.rtc = { ...draft.options.rtc, base }
  draft.translate(given, `rtc: { base: '${base}' }`, 'QEMU now provides it as `-rtc base=`')
}

const setsMachine = (property: string) => (draft: Draft, given: ParsedOption) => {
  draft.keep({ flag: 'machine', value: property })
  draft.translate(given, `-machine ${property}`, 'QEMU now provides it as a machine property')
}

const setsAccel = (accel: Accel) => (draft: Draft, given: ParsedOption) => {
  draft.options.accel = accel
  if (given.flag !== 'enable-kvm')
    draft.translate(given, `accel: '${accel}'`, 'the option was removed from QEMU')
}

/** Readers for machine, CPU, memory and clock. */
export const machineReaders: Readers = {
  M: readMachine,
  machine: readMachine,
  accel: readAccelOption,
  cpu: (draft, { value }) => {
    draft.options.cpu = value
  },
  smp: readSmp,
  m: readMemory,
  rtc: readRtc,
  localtime: (draft, given) => readStart(draft, given, 'localtime'),
  startdate: (draft, given) => readStart(draft, given, given.value === 'now' ? 'utc' : given.value),
  'rtc-td-hack': (draft, given) => {
    draft.keep({ flag: 'rtc', value: 'driftfix=slew' })
    draft.translate(given, '-rtc driftfix=slew', 'the option was removed from QEMU')
  },
  'enable-kvm': setsAccel('kvm'),
  'no-kvm': setsAccel('tcg'),
  'no-kqemu': setsAccel('tcg'),
  'kernel-kqemu': setsAccel('auto'),
  'enable-hax': setsAccel('auto'),
  'no-acpi': setsMachine('acpi=off'),
  'no-hpet': setsMachine('hpet=off'),
  'no-kvm-irqchip': setsMachine('kernel_irqchip=off'),
}

/**
 * Parses NUMA nodes. If each node specifies its memory, directly or with a plain memory object,
 * they become options. Otherwise they are passed through with their objects.
 */
export function readNuma(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const nodes = given.filter(({ flag }) => flag === 'numa')
  if (nodes.length === 0) return given
  const objects = given.flatMap((one) => {
    const parameters = one.flag === 'object' ? parseParameters(one.value, 'qom-type') : []
    const isPlain = parameters.every(([key]) =>
      ['qom-type', 'id', 'size', 'host-nodes', 'policy'].includes(key),
    )
    return lastValue(parameters, 'qom-type') === 'memory-backend-ram' && isPlain ? [{ one, parameters }] : []
  })
  const used: ParsedOption[] = []
  const read = nodes.map(({ value }): NumaNode | undefined => {
    const parameters = parseParameters(value, 'type')
    const named = objects.find(({ parameters: object }) => {
      return (
        lastValue(object, 'id') !== undefined && lastValue(object, 'id') === lastValue(parameters, 'memdev')
      )
    })
    const mem = lastValue(parameters, 'mem')
    const size =
      named === undefined ? mem && toSize(mem) : toSize(lastValue(named.parameters, 'size') ?? '', 'B')
    const isKnown = parameters.every(([key]) => ['type', 'nodeid', 'mem', 'memdev', 'cpus'].includes(key))
    if (size === undefined || lastValue(parameters, 'type') !== 'node' || !isKnown) return undefined
    if (named !== undefined) used.push(named.one)
    return { memory: size, cpus: listNumbers(parameters, 'cpus'), ...readHostNodes(named?.parameters ?? []) }
  })
  if (read.includes(undefined)) return given
  draft.options.numa = read as NumaNode[]
  return given.filter((one) => !nodes.includes(one) && !used.includes(one))
}

/** Parses the host nodes and policy of a memory object. */
function readHostNodes(object: Parameters): HostNodes {
  const hostNodes = listNumbers(object, 'host-nodes')
  const policy = lastValue(object, 'policy') as HostNodes['policy']
  return { ...(hostNodes.length === 0 ? {} : { hostNodes }), ...(policy === undefined ? {} : { policy }) }
}

/** Parses a list, in which the key is repeated for each number or range. */
function listNumbers(parameters: Parameters, wanted: string): number[] {
  return parameters.flatMap(([key, value]) => (key === wanted ? parseNumberRange(value) : []))
}
