import { quoteWord } from '../common/shell-quote.js'
import { buildCommandByHand } from '../qemu/argv/build-command.js'
import type { Machine } from './machine.js'

/**
 * The command that boots the same machine in a terminal: console and monitor on the terminal, no overlay
 * (`snapshot=on` does that), the same ports. Keys are not in it: log in on the console.
 */
export function commandLineByHand(machine: Machine): string {
  const { file, args } = buildCommandByHand(machine.spec, {
    qemuPath: machine.host.qemu.path,
    accelerator: machine.host.accelerator,
    hostPorts: machine.ports.hostPorts,
    mac: machine.identity.mac,
    furtherMacs: machine.identity.furtherMacs,
    firmware: machine.host.firmware,
  })
  return [file, ...args].map((word) => quoteWord(word)).join(' ')
}
