import { virtioDevice } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

const DEVICES = { virtio: 'virtserialport', serial: 'isa-serial', parallel: 'isa-parallel' } as const

/**
 * Returns the arguments of the author's ports. They follow those of withvm, so the console is the
 * first serial port.
 */
export function portArgs(
  { ports }: MachineSpec,
  { portSockets = [] }: Pick<Wiring, 'portSockets'>,
): string[] {
  return connectPorts(ports, (id, index) => joinOption('socket', { id, path: portSockets[index] }))
}

/** Returns the ports of the manual command line, as pseudo terminals that QEMU reports. */
export function terminalPortArgs({ arch, ports }: MachineSpec): string[] {
  const bus = ports.some(({ type }) => type === 'virtio') ? ['-device', virtioDevice('serial', arch)] : []
  return [...bus, ...connectPorts(ports, (id) => joinOption('pty', { id }))]
}

function connectPorts(ports: MachineSpec['ports'], chardev: (id: string, index: number) => string): string[] {
  return ports.flatMap(({ type, name }, index) => {
    const id = `port${index}`
    const device = joinOption(DEVICES[type], { chardev: id, name: type === 'virtio' ? name : undefined })
    return ['-chardev', chardev(id, index), '-device', device]
  })
}
