import type { BaseImage } from '../base-image.js'
import { DEFAULTS } from '../defaults.js'
import type { DeviceSpec } from '../machine-spec.js'
import type { DeviceOptionGroup } from '../options/devices.js'
import type { VMOptions } from '../options.js'

/** Returns true if hot-plug is enabled, explicitly or by a maximum of CPUs or memory. */
export function isHotplugEnabled(options: Pick<VMOptions, 'hotplug' | 'cpus' | 'memory'>): boolean {
  const { hotplug, cpus, memory } = options
  const mayGrow =
    (typeof cpus === 'object' && cpus.maxcpus !== undefined) ||
    (typeof memory === 'object' && memory.max !== undefined)
  return hotplug ?? mayGrow
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
    hotplug: isHotplugEnabled(options),
    rng: options.rng ?? false,
    balloon: options.balloon ?? false,
    watchdog:
      watchdog === false
        ? undefined
        : { ...DEFAULTS.watchdog, model, ...(watchdog === true ? {} : watchdog) },
    others: options.devices ?? [],
  }
}
