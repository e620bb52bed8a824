import { isPc } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { DiskFile, Wiring } from '../command.js'
import { joinOption, type OptionValues } from './join-option.js'

/** UEFI firmware lies in two flash chips: its code, and the variables that it writes to. A file of the author's is a ROM. */
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
  // Only the firmware itself, in the system management mode, is to write to the variables.
  const secure =
    isPc(arch) && spec.secureBoot ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : []
  return [...flash(firmware.code, 0, { readonly: 'on' }), ...flash(firmware.vars, 1, { snapshot }), ...secure]
}

/** The program that emulates the TPM waits at a socket. */
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
