import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

export function identityArgs({ name }: Pick<MachineSpec, 'name'>): string[] {
  return ['-name', joinOption('', { guest: name }), '-nodefaults', '-no-user-config']
}
