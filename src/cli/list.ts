import { nearestNames } from '../common/nearest-name.js'
import { vmError } from '../errors.js'
import { queryDeviceProperties } from '../host/device-properties.js'
import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../host/qemu-capabilities.js'
import { resolveArch } from '../spec/architectures.js'
import { EXIT_CODES } from './exit-code.js'

/** What can be listed. */
export type ListName = 'machines' | 'cpus' | 'devices'

/** `withvm list`: what this host's QEMU for an architecture has, a name a line; of one device, its properties with their types. */
export async function listHardware(
  what: ListName,
  device: string | undefined,
  arch: string | undefined,
): Promise<number> {
  const qemu = await findQemu({ arch: resolveArch(arch) })
  const capabilities = await queryCapabilities(qemu)
  if (device === undefined) {
    print(describe(what, capabilities, qemu))
    return EXIT_CODES.ok
  }
  const { devices } = capabilities
  const properties = (await queryDeviceProperties(qemu, [device])).get(device)
  if (properties === undefined) {
    const near = nearestNames(device, devices)
    throw vmError('MACHINE_UNSUPPORTED', {
      summary: `QEMU ${qemu.version.text} has no device '${device}'.`,
      hint: near.length > 0 ? `did you mean ${near.join(' or ')}?` : '`withvm list devices` lists them.',
    })
  }
  print(properties.map(({ name, type }) => `${name}=<${type}>`))
  return EXIT_CODES.ok
}

function describe(what: ListName, capabilities: QemuCapabilities, qemu: QemuBinary): string[] {
  const { deprecatedMachines } = capabilities
  const names = capabilities[what]
  if (names === undefined)
    throw vmError('MACHINE_UNSUPPORTED', {
      summary: `This QEMU does not tell which ${what} it has by its machine protocol.`,
      hint: `\`${qemu.path} -cpu help\` lists them.`,
    })
  const mark = (name: string) =>
    what === 'machines' && deprecatedMachines.includes(name) ? `${name} (deprecated)` : name
  return [...new Set(names)].map(mark)
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${[...lines].sort().join('\n')}\n`)
}
