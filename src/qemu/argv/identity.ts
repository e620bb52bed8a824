import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

export function identityArgs({ name, smbios }: Pick<MachineSpec, 'name' | 'smbios'>): string[] {
  const { uuid, ...system } = smbios
  const fields = joinOption('', system)
  return [
    '-name',
    joinOption('', { guest: name }),
    '-nodefaults',
    '-no-user-config',
    ...(uuid === undefined ? [] : ['-uuid', uuid]),
    ...(fields === '' ? [] : ['-smbios', `type=1,${fields}`]),
  ]
}
