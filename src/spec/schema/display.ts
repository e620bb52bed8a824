import { isIPv4 } from 'node:net'
import { z } from 'zod'
import { count, flag, isPort, isText, oneOf, path, port, rule, textLike } from './rules.js'

const bind = rule<string>("an IPv4 address of this host, such as '127.0.0.1'", (value) => {
  return typeof value === 'string' && isIPv4(value)
})

/** Any character is allowed, because the secret is passed to QEMU in a separate file. */
const password = (maxLength: number) =>
  rule<string>(
    `a password of at most ${maxLength} characters`,
    (value) => isText(value) && value.length <= maxLength,
  )

const vnc = z.strictObject({
  display: count(0, 999),
  socket: path('a socket that does not exist yet'),
  bind,
  password: password(8),
  websocket: rule<boolean | number>('true, false or a port', (value) => {
    return typeof value === 'boolean' || isPort(value)
  }),
})

const spice = z.strictObject({ port: port(), bind, password: password(60) })

/** Schema of the options for the display. */
export const displayRules = {
  display: oneOf('none', 'gtk', 'sdl', 'curses'),
  grab: oneOf('ctrl-alt-shift', 'right-ctrl'),
  vga: oneOf('none', 'std', 'cirrus', 'vmware', 'qxl', 'virtio'),
  vnc: z.union([flag(), vnc]).optional(),
  spice: z.union([flag(), spice]).optional(),
  keyboardLayout: textLike("a layout as QEMU names it, such as 'de' or 'fr-be'", /^[a-z]{2}(-[a-z]{2})?$/),
  tablet: oneOf('virtio', 'usb'),
}
