import { nearestNames } from '../common/nearest-name.js'
import { vmError } from '../errors.js'
import { queryDeviceProperties } from '../host/device-properties.js'
import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../host/qemu-capabilities.js'
import { resolveArch } from '../spec/architectures.js'
import { EXIT_CODES } from './exit-code.js'
import { printResult } from './json.js'

/** Kinds of hardware that `withvm list` supports. */
export type ListName = 'machines' | 'cpus' | 'devices'

export interface ListFlags {
  readonly arch?: string
  readonly json?: boolean
}

interface Item {
  readonly name: string
  /** Text after the name. */
  readonly note: string
  /** Values of `--json`. */
  readonly values: Readonly<Record<string, unknown>>
}

/**
 * Runs `withvm list`: prints the machine types, CPU models or devices that QEMU supports for an
 * architecture, one per line. With `device`, prints the properties of that device and their types.
 */
export async function listHardware(
  what: ListName,
  device: string | undefined,
  { arch, json = false }: ListFlags,
): Promise<number> {
  const qemu = await findQemu({ arch: resolveArch(arch) })
  const capabilities = await queryCapabilities(qemu)
  if (device === undefined) {
    print(describeSupport(what, capabilities, qemu), json)
    return EXIT_CODES.ok
  }
  const { devices } = capabilities
  const properties = (await queryDeviceProperties(qemu, [device])).get(device)
  if (properties === undefined) {
    const near = nearestNames(device, devices)
    throw vmError('MACHINE_UNSUPPORTED', {
      summary: `The device '${device}' is not supported by QEMU ${qemu.version.text}.`,
      hint:
        near.length > 0
          ? `Specify ${near.map((name) => `'${name}'`).join(' or ')}.`
          : 'Run `withvm list devices` to list the supported devices.',
    })
  }
  print(
    properties.map(({ name, type }) => ({ name, note: `=<${type}>`, values: { name, type } })),
    json,
  )
  return EXIT_CODES.ok
}

function describeSupport(what: ListName, capabilities: QemuCapabilities, qemu: QemuBinary): Item[] {
  const { deprecatedMachines } = capabilities
  const names = capabilities[what]
  if (names === undefined)
    throw vmError('MACHINE_UNSUPPORTED', {
      summary: `QEMU ${qemu.version.text} does not report its ${what} over QMP.`,
      hint: `Run \`${qemu.path} -cpu help\` to list them.`,
    })
  return [...new Set(names)].map((name) => {
    if (what !== 'machines') return { name, note: '', values: { name } }
    const isDeprecated = deprecatedMachines.includes(name)
    return { name, note: isDeprecated ? ' (deprecated)' : '', values: { name, isDeprecated } }
  })
}

function print(items: readonly Item[], json: boolean): void {
  const sorted = [...items].sort((a, b) => (a.name < b.name ? -1 : 1))
  const text = sorted.map(({ name, note }) => `${name}${note}`).join('\n')
  printResult(
    sorted.map(({ values }) => values),
    { json, text },
  )
}
