import { resolve } from 'node:path'
import { describeArch, resolveArch } from '../architectures.js'
import { DEFAULTS } from '../defaults.js'
import type { FirmwareSpec, MachineSpec } from '../machine-spec.js'
import type { BootOptionGroup, UefiFirmware } from '../options/firmware.js'
import type { VMOptions } from '../options.js'

/**
 * A board without firmware uses UEFI, unless QEMU loads a kernel or the options provide other
 * firmware.
 */
export function resolveFirmware(options: FirmwareOptions, hasDirectBoot: boolean): FirmwareSpec {
  const { hasOwnFirmware } = describeArch(resolveArch(options.arch))
  const hasFirmware = hasOwnFirmware || hasDirectBoot || providesFirmware(options)
  const { firmware = hasFirmware ? 'bios' : 'uefi' } = options
  if (firmware === 'bios') return { type: 'bios', file: undefined }
  if (typeof firmware === 'object' && firmware.type === 'bios')
    return { type: 'bios', file: resolve(firmware.file) }
  const { secureBoot = false, vars }: Partial<UefiFirmware> = firmware === 'uefi' ? {} : firmware
  return { type: 'uefi', secureBoot, vars: vars === undefined ? undefined : resolve(vars) }
}

type FirmwareOptions = Pick<VMOptions, 'firmware' | 'arch' | 'disks' | 'qemuArgs'>

/** Returns true if the first flash chip has an image, or `qemuArgs` specify firmware. */
export function providesFirmware({ disks = [], qemuArgs = [] }: FirmwareOptions): boolean {
  const isFlash = disks.some(({ interface: kind, image, index = 0 }) => {
    return kind === 'pflash' && image !== undefined && index === 0
  })
  return isFlash || qemuArgs.some((arg) => /^--?(bios|pflash)$|\bif=pflash\b/.test(arg))
}

export function resolveTpm({ tpm = false }: Pick<BootOptionGroup, 'tpm'>): MachineSpec['tpm'] {
  if (tpm === false) return undefined
  const { version = DEFAULTS.tpm.version, model = DEFAULTS.tpm.model } = tpm === true ? {} : tpm
  return { version, model }
}
