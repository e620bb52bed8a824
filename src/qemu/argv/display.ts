import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

/** Last VNC display number that QEMU tries. */
const LAST_DISPLAY = 99
const GRAB_KEYS = { 'ctrl-alt-shift': 'lshift-lctrl-lalt', 'right-ctrl': 'rctrl' } as const

/** Returns the arguments of the display card, its window, and the VNC and SPICE servers. */
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
    // An explicit key: QEMU would take the part of a path before a `=` as the key.
    vnc: vnc.socket === undefined ? undefined : `unix:${vnc.socket}`,
    to: isFree ? LAST_DISPLAY : undefined,
    websocket: vnc.websocket === false ? undefined : vnc.websocket === true ? 'on' : vnc.websocket,
    'password-secret': vnc.password === undefined ? undefined : 'vnc-secret',
  })
  return [...secretArgs('vnc-secret', vnc.password, secretFile), '-vnc', server]
}

/**
 * Returns the arguments of the SPICE server. In the manual command line, its socket is in the
 * working directory.
 */
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

/** Passes a secret in a file, because every user of the host can read the command line. */
function secretArgs(id: string, secret: string | undefined, file = 'SECRET_FILE'): string[] {
  return secret === undefined ? [] : ['-object', joinOption('secret', { id, file })]
}
