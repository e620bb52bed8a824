import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { startsProcesses } from './guest-services.js'
import { joinOption } from './join-option.js'

/**
 * A guest that breaks out of QEMU can neither start programs nor gain privileges. But where QEMU starts a process for each connection
 * that the guest opens to what answers it, it may: it does so in a session of its own, and `setsid` is among what
 * `elevateprivileges=deny` refuses. By the rest alone none of them gains a privilege, as they are loaded with "no new privileges". The
 * libraries of a window start processes too, to find out what the display can do.
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
