import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

/** What the harness talks by with QEMU and with the guest. */
export function channelArgs(wiring: Wiring): string[] {
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
    ...wiring.smbiosFiles.flatMap((path) => ['-smbios', joinOption('type=11', { path })]),
  ]
}

/** What a person talks by with both, in a terminal. */
export function terminalArgs(): string[] {
  return ['-serial', 'mon:stdio']
}
