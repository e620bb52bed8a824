import { virtioDevice } from '../../spec/architectures.js'
import type { DeviceSpec, MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { hasBuiltInSata } from './disk-addresses.js'
import { joinOption } from './join-option.js'
import { watchdogArgs } from './watchdog.js'

/** Returns the arguments of all devices other than disks, network cards and displays. */
export function deviceArgs(spec: MachineSpec, wiring: Pick<Wiring, 'watchdogTable'> = {}): string[] {
  const { arch, devices } = spec
  const { rng, balloon, sound, others } = devices
  return [
    ...(rng ? ['-device', virtioDevice('rng', arch)] : []),
    ...(balloon ? ['-device', virtioDevice('balloon', arch)] : []),
    ...watchdogArgs(spec, wiring),
    ...(sound === undefined
      ? []
      : ['-audiodev', 'none,id=sound', ...SOUND_DEVICES[sound].flatMap((card) => ['-device', card])]),
    ...others.flatMap(({ driver, ...properties }) => ['-device', joinOption(driver, toText(properties))]),
  ]
}

/**
 * Returns root ports for hot-plug: a PCI Express machine supports it only there, one device per
 * port.
 */
export function plugPortArgs({ devices, machine }: MachineSpec): string[] {
  return devices.hotplug && hasBuiltInSata(machine) ? PLUG_PORTS : []
}

export const PLUG_PORT_NAMES = ['plug-port-1', 'plug-port-2', 'plug-port-3', 'plug-port-4'] as const
const PLUG_PORTS = PLUG_PORT_NAMES.flatMap((id, index) => [
  '-device',
  joinOption('pcie-root-port', { id, chassis: index + 1, slot: index + 1 }),
])

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
