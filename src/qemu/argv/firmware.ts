import { isPc } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { DiskFile, Wiring } from '../command.js'
import { joinOption, type OptionValues } from './join-option.js'

/**
 * Returns the arguments of the firmware. UEFI uses two flash chips, for code and variables; a BIOS
 * file is a ROM.
 */
export function firmwareArgs(
  { arch, firmware: spec }: MachineSpec,
  { firmware }: Pick<Wiring, 'firmware'>,
  snapshot?: 'on',
): string[] {
  if (spec.type === 'bios') return spec.file === undefined ? [] : ['-bios', spec.file]
  if (firmware === undefined) return []
  const flash = ({ path: file, format }: DiskFile, unit: number, more: OptionValues) => [
    '-drive',
    joinOption('', { if: 'pflash', unit, file, format, ...more }),
  ]
  // Only firmware code in system management mode may write the variables.
  const secure =
    isPc(arch) && spec.secureBoot ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : []
  return [...flash(firmware.code, 0, { readonly: 'on' }), ...flash(firmware.vars, 1, { snapshot }), ...secure]
}

/** Returns the arguments that connect the TPM to the socket of its emulator. */
export function tpmArgs({ tpm }: MachineSpec, { tpmSocket: path }: Pick<Wiring, 'tpmSocket'>): string[] {
  if (tpm === undefined || path === undefined) return []
  return [
    '-chardev',
    joinOption('socket', { id: 'tpm', path }),
    '-tpmdev',
    'emulator,id=tpm0,chardev=tpm',
    '-device',
    `tpm-${tpm.model},tpmdev=tpm0`,
  ]
}
