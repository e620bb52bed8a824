import { describeArch, type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

/** What the harness talks by with QEMU and with the guest. */
export function channelArgs({ arch }: MachineSpec, wiring: Wiring): string[] {
  return [
    '-chardev',
    joinOption('socket', { id: 'qmp', path: wiring.qmpSocket }),
    '-mon',
    'chardev=qmp,mode=control',
    '-chardev',
    joinOption('socket', { id: 'serial0', path: wiring.serialSocket }),
    // Nothing is written by this: it names the run folder, by which `withvm ps` finds the files of a guest. The log itself
    // is written by who reads the socket, since `logfile=` on a socket repeats bytes (see ConsoleLogFile).
    '-chardev',
    joinOption('null', { id: 'run-folder', logfile: wiring.serialLog, logappend: 'on' }),
    // The machine's first serial port, whatever device that is.
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

/** A machine without virtio has nothing that these lead to. */
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

/** What a person talks by with both, in a terminal. */
export function terminalArgs(): string[] {
  return ['-serial', 'mon:stdio']
}
