import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

/** How far from the first display QEMU looks for one that is free. */
const MOST_DISPLAY = 99
const GRAB_KEYS = { 'ctrl-alt-shift': 'lshift-lctrl-lalt', 'right-ctrl': 'rctrl' } as const

/** The display card, and who sees what it shows. */
export function displayArgs(
  { display }: MachineSpec,
  wiring: Pick<Wiring, 'vncSecretFile' | 'spiceSecretFile' | 'spiceSocket'>,
): string[] {
  const { window, grab, vga, keyboardLayout, tablet } = display
  return [
    '-display',
    joinOption(window ?? 'none', { 'grab-mod': grab === undefined ? undefined : GRAB_KEYS[grab] }),
    ...(vga === undefined ? [] : ['-vga', vga]),
    ...(keyboardLayout === undefined ? [] : ['-k', keyboardLayout]),
    ...(tablet === undefined
      ? []
      : ['-device', tablet === 'usb' ? 'usb-tablet,bus=usb.0' : 'virtio-tablet-pci']),
    ...vncArgs(display.vnc, wiring.vncSecretFile),
    ...spiceArgs(display.spice, wiring),
  ]
}

function vncArgs(vnc: MachineSpec['display']['vnc'], secretFile: string | undefined): string[] {
  if (vnc === undefined) return []
  const isFree = vnc.display === undefined && vnc.socket === undefined
  const server = joinOption(vnc.socket === undefined ? `${vnc.bind}:${vnc.display ?? 0}` : '', {
    // Of a path with a `=` QEMU would take the first part for the key, if it were implied.
    vnc: vnc.socket === undefined ? undefined : `unix:${vnc.socket}`,
    to: isFree ? MOST_DISPLAY : undefined,
    websocket: vnc.websocket === false ? undefined : vnc.websocket === true ? 'on' : vnc.websocket,
    'password-secret': vnc.password === undefined ? undefined : 'vnc-secret',
  })
  return [...secretArgs('vnc-secret', vnc.password, secretFile), '-vnc', server]
}

/** Without a port it is a socket of this run's; by hand, one in the folder where QEMU is started. */
function spiceArgs(
  spice: MachineSpec['display']['spice'],
  { spiceSecretFile, spiceSocket = 'spice.sock' }: Pick<Wiring, 'spiceSecretFile' | 'spiceSocket'>,
): string[] {
  if (spice === undefined) return []
  const { port, bind, password } = spice
  const server = joinOption('', {
    ...(port === undefined ? { unix: 'on', addr: spiceSocket } : { addr: bind, port }),
    ...(password === undefined ? { 'disable-ticketing': 'on' } : { 'password-secret': 'spice-secret' }),
  })
  return [...secretArgs('spice-secret', password, spiceSecretFile), '-spice', server]
}

/** What stands in the command line, every user of the host can read. */
function secretArgs(id: string, secret: string | undefined, file = 'SECRET_FILE'): string[] {
  return secret === undefined ? [] : ['-object', joinOption('secret', { id, file })]
}
