import { nearestNames } from '../common/nearest-name.js'
import { vmError } from '../errors.js'
import { queryDeviceProperties } from '../host/device-properties.js'
import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../host/qemu-capabilities.js'
import { resolveArch } from '../spec/architectures.js'
import { EXIT_CODES } from './exit-code.js'

/** Kinds of hardware that `withvm list` supports. */
export type ListName = 'machines' | 'cpus' | 'devices'

/**
 * Runs `withvm list`: prints the machine types, CPU models or devices that QEMU supports for an
 * architecture, one per line. With `device`, prints the properties of that device and their types.
 */
export async function listHardware(
  what: ListName,
  device: string | undefined,
  arch: string | undefined,
): Promise<number> {
  const qemu = await findQemu({ arch: resolveArch(arch) })
  const capabilities = await queryCapabilities(qemu)
  if (device === undefined) {
    print(describeSupport(what, capabilities, qemu))
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
  print(properties.map(({ name, type }) => `${name}=<${type}>`))
  return EXIT_CODES.ok
}

function describeSupport(what: ListName, capabilities: QemuCapabilities, qemu: QemuBinary): string[] {
  const { deprecatedMachines } = capabilities
  const names = capabilities[what]
  if (names === undefined)
    throw vmError('MACHINE_UNSUPPORTED', {
      summary: `QEMU ${qemu.version.text} does not report its ${what} over QMP.`,
      hint: `Run \`${qemu.path} -cpu help\` to list them.`,
    })
  const mark = (name: string) =>
    what === 'machines' && deprecatedMachines.includes(name) ? `${name} (deprecated)` : name
  return [...new Set(names)].map(mark)
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${[...lines].sort().join('\n')}\n`)
}
