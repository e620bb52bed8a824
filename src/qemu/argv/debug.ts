import type { MachineSpec } from '../../spec/machine-spec.js'

export function debugArgs({ debug: { paused, gdb, log, logFile } }: MachineSpec): string[] {
  return [
    ...(paused === true ? ['-S'] : []),
    ...(gdb === undefined ? [] : ['-gdb', `tcp:127.0.0.1:${gdb}`]),
    ...(log === undefined ? [] : ['-d', log.join(',')]),
    ...(logFile === undefined ? [] : ['-D', logFile]),
  ]
}
