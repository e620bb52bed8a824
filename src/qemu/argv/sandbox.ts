import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'
import { startsProcesses } from './network-services.js'

/**
 * Returns the sandbox rules: a guest that breaks out of QEMU can neither start programs nor gain
 * privileges.
 *
 * If QEMU starts a process for each connection of the guest, `spawn` must be allowed, and
 * `elevateprivileges` too, because `deny` forbids the `setsid` of these processes. They still
 * cannot gain privileges: the filter sets "no new privileges". The libraries of a window also start
 * processes, to query the display.
 */
export function sandboxArgs(spec: MachineSpec, { sandbox }: Pick<Wiring, 'sandbox'>): string[] {
  if (!sandbox) return []
  const { window } = spec.display
  const isServed = startsProcesses(spec)
  const spawns = isServed || window === 'gtk' || window === 'sdl'
  const rules = {
    obsolete: 'deny',
    elevateprivileges: isServed ? 'allow' : 'deny',
    spawn: spawns ? 'allow' : 'deny',
    resourcecontrol: 'deny',
  }
  return ['-sandbox', joinOption('on', rules)]
}
