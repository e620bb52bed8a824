import type { DeviceSpec, MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

/** What the machine has beside processors, disks and cards. */
export function deviceArgs({ devices }: MachineSpec): string[] {
  const { vga, rng, balloon, watchdog, sound, others } = devices
  return [
    ...(vga === undefined ? [] : ['-vga', vga]),
    ...(rng ? ['-device', 'virtio-rng-pci'] : []),
    ...(balloon ? ['-device', 'virtio-balloon-pci'] : []),
    ...(watchdog === undefined ? [] : ['-device', watchdog.model, '-action', `watchdog=${watchdog.action}`]),
    ...(sound === undefined
      ? []
      : ['-audiodev', 'none,id=sound', ...SOUND_DEVICES[sound].flatMap((card) => ['-device', card])]),
    ...others.flatMap(({ driver, ...properties }) => ['-device', joinOption(driver, toText(properties))]),
  ]
}

const SOUND_DEVICES: Readonly<Record<NonNullable<DeviceSpec['sound']>, readonly string[]>> = {
  ac97: ['AC97,audiodev=sound'],
  es1370: ['ES1370,audiodev=sound'],
  ich6: ['intel-hda', 'hda-duplex,audiodev=sound'],
  ich9: ['ich9-intel-hda', 'hda-duplex,audiodev=sound'],
  usb: ['usb-audio,audiodev=sound'],
}

function toText(properties: Readonly<Record<string, string | number | boolean>>) {
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [
      name,
      typeof value === 'boolean' ? (value ? 'on' : 'off') : value,
    ]),
  )
}
