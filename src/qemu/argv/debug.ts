import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

export function debugArgs(
  { debug: { paused, gdb = false, log, logFile } }: MachineSpec,
  wiring: Pick<Wiring, 'gdbSocket'>,
): string[] {
  return [
    ...(paused === true ? ['-S'] : []),
    ...gdbArgs(gdb, wiring),
    ...(log === undefined ? [] : ['-d', log.join(',')]),
    ...(logFile === undefined ? [] : ['-D', logFile]),
  ]
}

/**
 * Returns the arguments of the GDB server. In the manual command line, its socket is in the working
 * directory.
 */
function gdbArgs(
  gdb: boolean | number,
  { gdbSocket: path = 'gdb.sock' }: Pick<Wiring, 'gdbSocket'>,
): string[] {
  if (gdb === false) return []
  if (gdb !== true) return ['-gdb', `tcp:127.0.0.1:${gdb}`]
  const socket = joinOption('socket', { id: 'gdb', path, server: 'on', wait: 'off' })
  return ['-chardev', socket, '-gdb', 'chardev:gdb']
}
