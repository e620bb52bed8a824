import { describeArch, type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

/** Returns the arguments of the connections between this process, QEMU and the guest. */
export function channelArgs({ arch }: MachineSpec, wiring: Wiring): string[] {
  return [
    '-chardev',
    joinOption('socket', { id: 'qmp', path: wiring.qmpSocket }),
    '-mon',
    'chardev=qmp,mode=control',
    '-chardev',
    joinOption('socket', { id: 'serial0', path: wiring.serialSocket }),
    // Writes nothing. Its path is the folder of the run, through which `withvm ps` finds the files
    // of a guest. This process writes the log, because `logfile=` on a socket repeats bytes (see
    // ConsoleLogFile).
    '-chardev',
    joinOption('null', { id: 'run-folder', logfile: wiring.serialLog, logappend: 'on' }),
    // First serial port of the machine, of any device type.
    '-serial',
    'chardev:serial0',
    '-chardev',
    joinOption('socket', { id: 'agent', path: wiring.agentSocket }),
    '-chardev',
    joinOption('socket', { id: 'identity', path: wiring.identityAgentSocket }),
    ...virtioPortArgs(arch),
    ...wiring.smbiosFiles.flatMap((path) => ['-smbios', joinOption('type=11', { path })]),
  ]
}

/** Returns no arguments for machines without virtio. */
function virtioPortArgs(arch: GuestArch): string[] {
  if (describeArch(arch).virtio === undefined) return []
  return [
    '-device',
    virtioDevice('serial', arch),
    '-device',
    'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
    '-device',
    'virtserialport,chardev=identity,name=org.withvm.identity-agent.0',
  ]
}

/** Returns the arguments that connect monitor and serial console to the terminal. */
export function terminalArgs(): string[] {
  return ['-serial', 'mon:stdio']
}
