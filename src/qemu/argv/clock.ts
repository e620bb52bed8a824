import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

export function clockArgs({ rtc: { base, clock } }: MachineSpec): string[] {
  return base === undefined && clock === undefined ? [] : ['-rtc', joinOption('', { base, clock })]
}
