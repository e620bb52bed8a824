import { isIPv4 } from 'node:net'
import { z } from 'zod'
import { count, flag, isPort, isText, oneOf, path, port, rule, textLike } from './rules.js'

const bind = rule<string>("an IPv4 address of this host, such as '127.0.0.1'", (value) => {
  return typeof value === 'string' && isIPv4(value)
})

/** What a secret may be without making the file that it is put in mean something else. */
const password = (most: number) =>
  rule<string>(`a password of up to ${most} characters`, (value) => isText(value) && value.length <= most)

const vnc = z.strictObject({
  display: count(0, 999),
  socket: path('a socket, which must not be there yet'),
  bind,
  password: password(8),
  websocket: rule<boolean | number>('true, false or a port', (value) => {
    return typeof value === 'boolean' || isPort(value)
  }),
})

const spice = z.strictObject({ port: port(), bind, password: password(60) })

/** The display. */
export const displayRules = {
  display: oneOf('none', 'gtk', 'sdl', 'curses'),
  grab: oneOf('ctrl-alt-shift', 'right-ctrl'),
  vga: oneOf('none', 'std', 'cirrus', 'vmware', 'qxl', 'virtio'),
  vnc: z.union([flag(), vnc]).optional(),
  spice: z.union([flag(), spice]).optional(),
  keyboardLayout: textLike("a layout as QEMU names it, such as 'de' or 'fr-be'", /^[a-z]{2}(-[a-z]{2})?$/),
  tablet: oneOf('virtio', 'usb'),
}
