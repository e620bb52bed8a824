import { totalmem } from 'node:os'
import type { z } from 'zod'
import { nearestNames } from '../common/nearest-name.js'
import { formatBytes, parseMemorySize } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import { findArchitectureConflicts } from './conflicts/architecture.js'
import { findDiskConflicts } from './conflicts/disks.js'
import { findDisplayConflicts } from './conflicts/display.js'
import { findMachineConflicts } from './conflicts/machine.js'
import { findNetbootConflicts } from './conflicts/netboot.js'
import { findNetworkConflicts } from './conflicts/network.js'
import type { Report } from './conflicts/report.js'
import { optionSchema } from './option-schema.js'
import type { PortOptions } from './options/devices.js'
import type { VMOptions } from './options.js'
import { readMemory } from './resolve/resolve-machine.js'

/** One problem with the options. */
export interface OptionProblem {
  /** Path of the option: `hostfwd[0].guest`. */
  readonly path: string
  readonly got: string
  readonly expected: string
}

/** Returns all problems that can be found without the host's QEMU. */
export function findOptionProblems(options: unknown): OptionProblem[] {
  const shape = findShapeProblems(optionSchema, options)
  return [...shape, ...findConflicts(options as VMOptions, shape.length === 0)]
}

/** Returns all deviations of a value from a schema. */
export function findShapeProblems(schema: z.ZodType, value: unknown): OptionProblem[] {
  const parsed = schema.safeParse(value)
  return parsed.success ? [] : parsed.error.issues.flatMap((issue) => describeIssue(issue, value, schema))
}

/** Creates one error that lists all problems. */
export function optionError(problems: readonly OptionProblem[]): VMError {
  const lines = problems.map(({ path, got, expected }) => `${path}: expected ${expected}, got ${got}`)
  return vmError('INVALID_OPTIONS', {
    summary: `${countInvalid(problems)}; no guest was started.\n${lines.map((line) => `  - ${line}`).join('\n')}`,
    hint: 'Change the options listed above. docs/options.md describes all options.',
  })
}

/** Returns the number of problems in words: `2 options are invalid`. */
export function countInvalid(problems: readonly OptionProblem[]): string {
  return problems.length === 1 ? '1 option is invalid' : `${problems.length} options are invalid`
}

function describeIssue(issue: z.core.$ZodIssue, options: unknown, schema: z.ZodType): OptionProblem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, issue.path)
    return issue.keys.map((key) => {
      const near = nearestNames(key, known)
      return {
        path: formatPath([...issue.path, key]),
        got: 'an unknown option',
        expected:
          near.length > 0 ? near.map((name) => `'${name}'`).join(' or ') : `one of ${known.join(', ')}`,
      }
    })
  }
  if (issue.code === 'invalid_union') {
    const value = valueAt(options, issue.path)
    // The intended alternative of a union is the one with the fewest problems.
    const branch = issue.errors
      .filter((errors) => errors.some((error) => error.path.length > 0 || error.code === 'unrecognized_keys'))
      .sort((a, b) => countProblems(a) - countProblems(b))[0]
    if (branch !== undefined && typeof value === 'object' && value !== null) {
      return branch.flatMap((inner) =>
        describeIssue({ ...inner, path: [...issue.path, ...inner.path] }, options, schema),
      )
    }
    // A union discriminated by `type` reports no errors of its branches if no branch matches.
    const otherwise = issue.errors.length === 0 ? issue.message : 'false or an object'
    const message = issue.errors.flat().find((error) => error.code === 'custom')?.message ?? otherwise
    return [{ path: formatPath(issue.path), got: formatValue(value), expected: message }]
  }
  const expected = issue.code === 'invalid_type' && issue.expected === 'object' ? 'an object' : issue.message
  return [{ path: formatPath(issue.path), got: formatValue(valueAt(options, issue.path)), expected }]
}

function countProblems(issues: readonly z.core.$ZodIssue[]): number {
  return issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0)
}

function findConflicts(options: VMOptions, isWellFormed: boolean): OptionProblem[] {
  if (typeof options !== 'object' || options === null) return []
  const problems: OptionProblem[] = []
  const report: Report = (path, got, expected) => void problems.push({ path, got, expected })
  const { size } = readMemory(options.memory)
  const memoryBytes = parseMemorySize(size)
  if (memoryBytes !== undefined && memoryBytes > totalmem()) {
    report('memory', formatValue(size), `at most the host's RAM, ${formatBytes(totalmem())}`)
  }
  if (options.initrd !== undefined && options.kernel === undefined) {
    report(
      'initrd',
      formatValue(options.initrd),
      '`kernel` to be set too (an initrd is loaded with a kernel)',
    )
  }
  if (options.dtb !== undefined && options.kernel === undefined) {
    report('dtb', formatValue(options.dtb), '`kernel` to be set too (a device tree is loaded with a kernel)')
  }
  if (Array.isArray(options.ports)) reportPorts(options.ports, report)
  if (options.debug?.paused === true && options.ready !== undefined && options.ready !== 'none') {
    report(
      'ready',
      `${formatValue(options.ready)} together with \`debug.paused\``,
      "'none' (the vCPUs are paused)",
    )
  }
  if (options.debug?.logFile !== undefined && options.debug.log === undefined) {
    report(
      'debug.logFile',
      formatValue(options.debug.logFile),
      '`debug.log` to be set too (the items to log)',
    )
  }
  reportReady(options, report)
  if (
    typeof options.ssh === 'object' &&
    options.ssh?.passphrase !== undefined &&
    options.ssh.privateKey === undefined
  ) {
    report('ssh.passphrase', 'a passphrase', '`ssh.privateKey` to be set too (the key to decrypt)')
  }
  findNetbootConflicts(options, report)
  reportClosedUdp(options, report)
  reportDuplicatePorts(options, report)
  if (isWellFormed) {
    findArchitectureConflicts(options, report)
    findDiskConflicts(options, report)
    findMachineConflicts(options, report)
    findNetworkConflicts(options, report)
    findDisplayConflicts(options, report)
  }
  return problems
}

/**
 * Maximum number of ports by kind. A PC has four serial ports, one of which is the console, and
 * three parallel ports.
 */
const MAX_PORTS = { serial: 3, parallel: 3, virtio: 28 } as const

function reportPorts(ports: readonly PortOptions[], report: Report): void {
  const names = new Set<string>()
  const counts = { serial: 0, parallel: 0, virtio: 0 }
  ports.forEach((port, index) => {
    const { name, type = 'virtio' } = port ?? {}
    if (names.has(name)) report(`ports[${index}].name`, `"${name}"`, 'a unique name')
    names.add(name)
    if (!(type in counts) || ++counts[type] <= MAX_PORTS[type]) return
    report(`ports[${index}].type`, `${counts[type]} ports of type '${type}'`, `at most ${MAX_PORTS[type]}`)
  })
}

function reportReady({ ready, ssh, login, cloudInit }: VMOptions, report: Report): void {
  if ((ready === 'ssh' || ready === 'cloud-init') && ssh === false) {
    report('ready', `'${ready}' together with \`ssh: false\``, "'agent', 'none', a RegExp or a function")
  }
  if (ready === 'cloud-init' && cloudInit === false) {
    report(
      'ready',
      "'cloud-init' together with `cloudInit: false`",
      'another condition, or no `cloudInit: false`',
    )
  }
  if (ready === 'login' && (login === undefined || ssh !== false)) {
    report(
      'ready',
      "'login'",
      '`login` and `ssh: false` to be set too (the serial console then stays logged in)',
    )
  }
  const isByLogin = ready === undefined || ready === 'ssh' || ready === 'cloud-init' || ready === 'login'
  if (login !== undefined && !isByLogin) {
    report('ready', `${formatValue(ready)} together with \`login\``, "'ssh', 'cloud-init' or 'login'")
  }
}

/** QEMU 7.2 (libslirp 4.7) forwards a datagram into a restricted network, but drops the reply. */
function reportClosedUdp({ hostfwd, network }: VMOptions, report: Report): void {
  const [first] = Array.isArray(network) ? network : [network]
  if (!Array.isArray(hostfwd) || first?.internet === true) return
  hostfwd.forEach((forward, index) => {
    if (forward?.protocol !== 'udp') return
    report(
      `hostfwd[${index}].protocol`,
      "'udp' on a restricted network",
      "'tcp', or `network: { internet: true }` (QEMU drops UDP replies from a restricted network)",
    )
  })
}

function reportDuplicatePorts(options: VMOptions, report: Report): void {
  if (!Array.isArray(options.hostfwd)) return
  const used = new Map<string, string>()
  const ssh = options.ssh === false ? undefined : options.ssh?.hostPort
  if (typeof ssh === 'number') used.set(`tcp ${ssh}`, 'ssh.hostPort')
  options.hostfwd.forEach((forward, index) => {
    // Values of a wrong type are reported by the schema.
    if (typeof forward?.host !== 'number' || !['tcp', 'udp', undefined].includes(forward.protocol)) return
    const key = `${forward.protocol ?? 'tcp'} ${forward.host}`
    const other = used.get(key)
    if (other !== undefined)
      report(`hostfwd[${index}].host`, `${forward.host}`, `a port other than that of ${other}`)
    used.set(key, `hostfwd[${index}].host`)
  })
}

/** Returns the valid names at a path of the schema. */
function knownKeys(whole: z.ZodType, path: readonly PropertyKey[]): string[] {
  let schema: unknown = whole
  for (const step of path) schema = stepInto(unwrap(schema), step)
  const shape = (unwrap(schema) as { shape?: object } | undefined)?.shape
  return shape === undefined ? [] : Object.keys(shape)
}

interface SchemaParts {
  readonly def?: {
    readonly innerType?: unknown
    readonly options?: readonly unknown[]
    readonly element?: unknown
  }
  readonly shape?: Readonly<Record<PropertyKey, unknown>>
}

function stepInto(schema: unknown, step: PropertyKey): unknown {
  const parts = schema as SchemaParts
  return parts?.shape?.[step] ?? parts?.def?.element
}

function unwrap(schema: unknown): unknown {
  const def = (schema as SchemaParts | undefined)?.def
  if (def?.innerType !== undefined) return unwrap(def.innerType)
  if (def?.options !== undefined) {
    const shapes = def.options.map((option) => (unwrap(option) as SchemaParts).shape)
    return { shape: Object.assign({}, ...shapes) } satisfies SchemaParts
  }
  return schema
}

function valueAt(options: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, step) => (value as Record<PropertyKey, unknown> | undefined)?.[step],
    options,
  )
}

function formatPath(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'options'
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
    .join('')
    .replace(/^\./, '')
}

const SECRET_VALUES = /PRIVATE KEY/

export function formatValue(value: unknown): string {
  if (typeof value === 'string') return SECRET_VALUES.test(value) ? 'a private key' : `"${value}"`
  if (typeof value === 'function') return 'a function'
  if (value === undefined) return 'nothing'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'number' || value instanceof RegExp) return String(value)
  const json = writeJson(value)
  return json === undefined ? typeof value : json.length > 60 ? `${json.slice(0, 57)}…` : json
}

/** Returns undefined for values without JSON: a symbol, or an object with a cycle. */
function writeJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
