import { resolve } from 'node:path'
import type { DisplaySpec } from '../machine-spec.js'
import type { DisplayOptionGroup, SpiceOptions, VncOptions } from '../options/display.js'

const LOOPBACK = '127.0.0.1'

/** A visible display requires a graphics card. */
export function resolveDisplay(options: DisplayOptionGroup): DisplaySpec {
  const { display = 'none', vnc = false, spice = false, tablet } = options
  const isShown = display !== 'none' || vnc !== false || spice !== false || tablet !== undefined
  const vga = options.vga ?? (isShown ? 'std' : 'none')
  return {
    window: display === 'none' ? undefined : display,
    grab: options.grab,
    vga: vga === 'none' ? undefined : vga,
    vnc: vnc === false ? undefined : resolveVnc(vnc === true ? {} : vnc),
    spice: spice === false ? undefined : resolveSpice(spice === true ? {} : spice),
    keyboardLayout: options.keyboardLayout,
    tablet,
  }
}

function resolveVnc({ display, socket, bind, password, websocket = false }: VncOptions): DisplaySpec['vnc'] {
  return {
    display,
    socket: socket === undefined ? undefined : resolve(socket),
    bind: bind ?? LOOPBACK,
    password,
    websocket,
  }
}

function resolveSpice({ port, bind, password }: SpiceOptions): DisplaySpec['spice'] {
  return { port, bind: bind ?? LOOPBACK, password }
}
