import { isPc } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { MICROVM } from '../../spec/microvm.js'
import type { Wiring } from '../command.js'
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

/** The device is found through ACPI tables, which only PCs with a firmware have. */
export function generationIdArgs(
  { arch, machine }: Pick<MachineSpec, 'arch' | 'machine'>,
  { hasGenerationId = false }: Pick<Wiring, 'hasGenerationId'>,
): string[] {
  return hasGenerationId && isPc(arch) && machine !== MICROVM ? ['-device', 'vmgenid,guid=auto'] : []
}
