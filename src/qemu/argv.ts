import type { BaseImage } from '../spec/base-image.js'
import { DEFAULTS } from '../spec/defaults.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { QemuCommand, Wiring } from './command.js'

/** Builds the whole command line of a machine. Pure: the same input gives the same line. */
export function buildQemuCommand(spec: MachineSpec, wiring: Wiring): QemuCommand {
  const args = [
    ...identityArgs(spec),
    ...machineArgs(spec, wiring.accelerator, wiring.memoryFile),
    ...bootArgs(spec),
    ...(wiring.overlay === undefined
      ? []
      : [
          ...secretArgs(wiring.diskSecretFile),
          ...diskArgs({
            file: wiring.overlay,
            format: 'qcow2',
            'node-name': DISK_NODE,
            ...keyOption(spec.image?.disk, 'backing.'),
          }),
        ]),
    ...networkArgs(spec, wiring),
    ...channelArgs(wiring),
    ...credentialArgs(wiring),
    ...(wiring.isIncoming ? ['-incoming', 'defer'] : []),
    ...(wiring.sandbox ? ['-sandbox', SANDBOX] : []),
    ...spec.qemuArgs,
  ]
  return { file: wiring.qemuPath, args }
}

/** Builds the command that boots the same machine in a terminal, without a harness. Pure. */
export function buildCommandByHand(
  spec: MachineSpec,
  wiring: Pick<Wiring, 'qemuPath' | 'accelerator' | 'hostPorts' | 'mac'>,
): QemuCommand {
  const disk = spec.image?.disk
  const args = [
    ...identityArgs(spec),
    ...machineArgs(spec, wiring.accelerator),
    ...bootArgs(spec),
    ...(disk === undefined
      ? []
      : [
          ...secretArgs(secretByHand(disk)),
          ...diskArgs({ file: disk.path, format: disk.format, snapshot: 'on', ...keyOption(disk, '') }),
        ]),
    ...networkArgs(spec, wiring),
    '-serial',
    'mon:stdio',
    ...spec.qemuArgs,
  ]
  return { file: wiring.qemuPath, args }
}

/** Joins an option's parts as QEMU reads them: a comma within a value is doubled. */
export function joinOption(
  head: string,
  values: Readonly<Record<string, string | number | undefined>>,
): string {
  const parts = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${String(value).replaceAll(',', ',,')}`],
  )
  return [head, ...parts].filter((part) => part !== '').join(',')
}

/** The name by which QEMU's monitor knows the system's disk. */
export const DISK_NODE = 'disk0-overlay'

/** A guest that breaks out of QEMU can neither start programs nor gain privileges. */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

function identityArgs(spec: MachineSpec): string[] {
  return ['-name', joinOption('', { guest: spec.name }), '-nodefaults', '-no-user-config', '-display', 'none']
}

function machineArgs(
  spec: MachineSpec,
  accelerator: 'kvm' | 'tcg',
  memoryFile?: Wiring['memoryFile'],
): string[] {
  const size = `${Math.ceil(spec.memoryBytes / 1024)}k`
  const memory = memoryFile === undefined ? undefined : 'ram'
  return [
    ...(memoryFile === undefined ? [] : memoryFileArgs(memoryFile, size)),
    '-machine',
    // With graphics off, firmware and boot loaders talk on the serial console.
    joinOption(spec.machine, {
      accel: accelerator,
      graphics: 'off',
      usb: 'off',
      ...fastPc(spec.machine),
      'memory-backend': memory,
    }),
    '-cpu',
    spec.cpu ?? DEFAULTS.cpu[accelerator],
    '-smp',
    String(spec.cpus),
    '-m',
    joinOption('', { size }),
  ]
}

/** What is written only for this guest is copied page by page, so that many guests share one file. */
function memoryFileArgs({ path, isWritten }: NonNullable<Wiring['memoryFile']>, size: string): string[] {
  const share = isWritten ? 'on' : 'off'
  return ['-object', joinOption('memory-backend-file', { id: 'ram', 'mem-path': path, size, share })]
}

/** PC devices that a Linux guest would spend boot time on without a use for them. */
function fastPc(machine: string): Record<string, string> {
  return /^(pc|q35|pc-.*)$/.test(machine) ? { vmport: 'off', smbus: 'off' } : {}
}

function bootArgs(spec: MachineSpec): string[] {
  const args: string[] = []
  if (spec.bootOrder !== undefined) args.push('-boot', joinOption('', { order: spec.bootOrder }))
  if (spec.directBoot !== undefined) {
    const { kernel, initrd, append } = spec.directBoot
    args.push('-kernel', kernel)
    if (initrd !== undefined) args.push('-initrd', initrd)
    if (append !== '') args.push('-append', append)
  }
  return args
}

type Disk = BaseImage['disk']

const SECRET_ID = 'disk0-secret'

/** A secret comes in a file: what stands in the command line, every user of the host can read. */
function secretArgs(file: string | undefined): string[] {
  return file === undefined ? [] : ['-object', joinOption('secret', { id: SECRET_ID, file })]
}

function keyOption(disk: Disk, prefix: 'backing.' | ''): Record<string, string> {
  if (disk?.encryption === undefined) return {}
  return { [`${prefix}${disk.format === 'luks' ? '' : 'encrypt.'}key-secret`]: SECRET_ID }
}

/** The person who types the command has the secret: where it was not in a file, it has to be put in one. */
function secretByHand(disk: Disk): string | undefined {
  if (disk?.encryption === undefined) return undefined
  const { secret } = disk.encryption
  return typeof secret === 'string' ? 'SECRET_FILE' : secret.file
}

function diskArgs(disk: {
  readonly file: string
  readonly format: string
  readonly snapshot?: 'on'
  readonly 'node-name'?: string
  readonly [key: string]: string | undefined
}): string[] {
  return [
    '-drive',
    joinOption('', { id: 'disk0', if: 'none', ...disk, discard: 'unmap' }),
    '-device',
    'virtio-blk-pci,drive=disk0',
  ]
}

function networkArgs(spec: MachineSpec, { hostPorts, mac }: Pick<Wiring, 'hostPorts' | 'mac'>): string[] {
  const { model, internet, tftp, bootfile } = spec.network
  const netdev = joinOption('user', { id: 'net0', restrict: internet ? 'off' : 'on', tftp, bootfile })
  const forwards = spec.forwards.map(({ protocol, bind, guest }, index) => {
    return `,hostfwd=${protocol}:${bind}:${hostPorts[index]}-:${guest}`
  })
  // A card's boot ROM is only of use where the firmware may boot from the network.
  const romfile = spec.bootOrder?.includes('n') || tftp !== undefined ? undefined : ''
  return [
    '-netdev',
    netdev + forwards.join(''),
    '-device',
    joinOption(model, { netdev: 'net0', mac, romfile }),
  ]
}

function channelArgs(wiring: Wiring): string[] {
  return [
    '-chardev',
    joinOption('socket', { id: 'qmp', path: wiring.qmpSocket }),
    '-mon',
    'chardev=qmp,mode=control',
    '-chardev',
    joinOption('socket', {
      id: 'serial0',
      path: wiring.serialSocket,
      logfile: wiring.serialLog,
      logappend: 'on',
    }),
    '-device',
    'isa-serial,chardev=serial0',
    '-device',
    'virtio-serial-pci',
    '-chardev',
    joinOption('socket', { id: 'agent', path: wiring.agentSocket }),
    '-device',
    'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
    '-chardev',
    joinOption('socket', { id: 'resident', path: wiring.residentSocket }),
    '-device',
    'virtserialport,chardev=resident,name=org.withvm.resident.0',
  ]
}

function credentialArgs(wiring: Wiring): string[] {
  return wiring.smbiosFiles.flatMap((path) => ['-smbios', joinOption('type=11', { path })])
}
