import { resolve } from 'node:path'
import { describeArch, resolveArch } from '../architectures.js'
import type { BaseImage } from '../base-image.js'
import { DEFAULTS } from '../defaults.js'
import type { DeviceSpec, FirmwareSpec, MachineSpec } from '../machine-spec.js'
import type { DeviceOptionGroup } from '../options/devices.js'
import type { BootOptionGroup, UefiFirmware } from '../options/firmware.js'
import type { VMOptions } from '../options.js'

/** Who says how much may be plugged in means to. */
export function wantsHotplug(options: Pick<VMOptions, 'hotplug' | 'cpus' | 'memory'>): boolean {
  const { hotplug, cpus, memory } = options
  const hasRoom =
    (typeof cpus === 'object' && cpus.maxcpus !== undefined) ||
    (typeof memory === 'object' && memory.max !== undefined)
  return hotplug ?? hasRoom
}

export function resolveDevices(
  options: DeviceOptionGroup & Pick<VMOptions, 'cpus' | 'memory' | 'tablet'>,
  image: BaseImage | undefined,
): DeviceSpec {
  const { watchdog = false } = options
  const { model = DEFAULTS.watchdog.model } = { model: image?.traits.watchdog }
  return {
    sound: options.sound,
    usb: options.usb ?? options.tablet === 'usb',
    hotplug: wantsHotplug(options),
    rng: options.rng ?? false,
    balloon: options.balloon ?? false,
    watchdog:
      watchdog === false
        ? undefined
        : { ...DEFAULTS.watchdog, model, ...(watchdog === true ? {} : watchdog) },
    others: options.devices ?? [],
  }
}

/** A machine without firmware of its own boots by UEFI, unless QEMU loads a kernel or the options bring other firmware. */
export function resolveFirmware(options: FirmwareSources, hasDirectBoot: boolean): FirmwareSpec {
  const { hasOwnFirmware } = describeArch(resolveArch(options.arch))
  const isGiven = hasOwnFirmware || hasDirectBoot || bringsFirmware(options)
  const { firmware = isGiven ? 'bios' : 'uefi' } = options
  if (firmware === 'bios') return { type: 'bios', file: undefined }
  if (typeof firmware === 'object' && firmware.type === 'bios')
    return { type: 'bios', file: resolve(firmware.file) }
  const { secureBoot = false, vars }: Partial<UefiFirmware> = firmware === 'uefi' ? {} : firmware
  return { type: 'uefi', secureBoot, vars: vars === undefined ? undefined : resolve(vars) }
}

type FirmwareSources = Pick<VMOptions, 'firmware' | 'arch' | 'disks' | 'qemuArgs'>

/** Whether the first flash chip has an image, or `qemuArgs` name firmware. */
export function bringsFirmware({ disks = [], qemuArgs = [] }: FirmwareSources): boolean {
  const isFlash = disks.some(({ interface: kind, image, index = 0 }) => {
    return kind === 'pflash' && image !== undefined && index === 0
  })
  return isFlash || qemuArgs.some((arg) => /^--?(bios|pflash)$|\bif=pflash\b/.test(arg))
}

export function resolveTpm({ tpm = false }: Pick<BootOptionGroup, 'tpm'>): MachineSpec['tpm'] {
  if (tpm === false) return undefined
  return { ...DEFAULTS.tpm, ...(tpm === true ? {} : tpm) }
}
