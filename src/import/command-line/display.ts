import { resolve } from 'node:path'
import type { DisplayOptionGroup } from '../../spec/options/display.js'
import type { Draft, ParsedOption } from './draft.js'
import { isOn, lastValue, parseParameters } from './parameters.js'
import { drop, type Readers } from './readers.js'

type Grab = NonNullable<DisplayOptionGroup['grab']>

const WINDOWS = ['gtk', 'sdl'] as const
/** Former grab flags, and their current values. */
const GRABS: ReadonlyArray<{ readonly flag: string; readonly mod: string; readonly grab: Grab }> = [
  { flag: 'alt-grab', mod: 'lshift-lctrl-lalt', grab: 'ctrl-alt-shift' },
  { flag: 'ctrl-grab', mod: 'rctrl', grab: 'right-ctrl' },
]
const WINDOW_FLAGS = ['sdl', 'no-quit', ...GRABS.map(({ flag }) => flag)]
const NO_TERMINAL =
  'this process has no terminal; use vm.serial for the console and vm.screenshot() for the screen'
const LOOPBACK = '127.0.0.1'
const ALL_ADDRESSES =
  'QEMU would listen on all addresses of this host; withvm exposes guests on loopback only'

/** Parses the options of SDL windows. Returns the remaining options. */
export function readWindows(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const flags = given.filter(({ flag }) => WINDOW_FLAGS.includes(flag))
  const hasWindow = given.some(
    ({ flag, value }) => flag === 'sdl' || (flag === 'display' && /^sdl\b/.test(value)),
  )
  for (const one of flags) {
    const grab = GRABS.find(({ flag }) => flag === one.flag)?.grab
    if (!hasWindow) {
      draft.translate(one, 'nothing', 'the guest has no window that could grab the keyboard or mouse')
    } else if (one.flag === 'no-quit') {
      draft.translate(one, 'nothing', 'closing the window always ends the guest')
    } else if (grab === undefined) {
      draft.options.display = 'sdl'
      draft.translate(one, "display: 'sdl'", 'the option was removed from QEMU')
    } else {
      draft.options.grab = grab
      draft.translate(one, `grab: '${grab}'`, 'the option was removed from QEMU')
    }
  }
  return given.filter((one) => !flags.includes(one))
}

function readDisplay(draft: Draft, given: ParsedOption): void {
  const [[, kind] = ['', ''], ...rest] = parseParameters(given.value, 'type')
  if (kind === 'none') return
  if (kind === 'curses') return void readCurses(draft, given)
  const window = WINDOWS.find((one) => one === kind)
  const grab = GRABS.find(({ mod }) => mod === lastValue(rest, 'grab-mod'))?.grab
  const isKnown = rest.every(([key]) => key === 'grab-mod' && grab !== undefined)
  if (window === undefined || !isKnown) return void draft.keep(given)
  draft.options.display = window
  if (grab !== undefined) draft.options.grab = grab
}

/** Uses the curses display if this process has a terminal. */
function readCurses(draft: Draft, given: ParsedOption): void {
  if (draft.hasTerminal) draft.options.display = 'curses'
  else draft.translate(given, 'nothing', NO_TERMINAL)
}

/** Parses `[host]:display` or `unix:path`, followed by supported properties. */
function readVnc(draft: Draft, given: ParsedOption): void {
  const [[, where] = ['', ''], ...rest] = parseParameters(given.value, 'vnc')
  if (where === 'none') return
  const [, path] = /^unix:(.+)$/.exec(where) ?? []
  const [, host, number] = /^([\d.]*|localhost):(\d+)$/.exec(where) ?? []
  const websocket = lastValue(rest, 'websocket')
  const isPort = websocket !== undefined && /^\d+$/.test(websocket)
  const more = websocket === undefined ? {} : { websocket: isPort ? Number(websocket) : isOn(websocket) }
  const isKnown = rest.every(([key]) => key === 'websocket' || key === 'to')
  if (!isKnown || (path === undefined && number === undefined)) return void draft.keep(given)
  const isFree = lastValue(rest, 'to') !== undefined
  const at = isFree ? {} : path === undefined ? { display: Number(number) } : { socket: resolve(path) }
  const bind = host === undefined || ['', 'localhost', LOOPBACK].includes(host) ? {} : { bind: host }
  const vnc = { ...at, ...bind, ...more }
  draft.options.vnc = Object.keys(vnc).length === 0 ? true : vnc
  if (host === '') draft.translate(given, `vnc, on ${LOOPBACK}`, ALL_ADDRESSES)
}

const SPICE_KEYS = ['port', 'addr', 'unix', 'disable-ticketing', 'password']

function readSpice(draft: Draft, given: ParsedOption): void {
  const parameters = parseParameters(given.value)
  const has = (key: string) => lastValue(parameters, key)
  const isOpen = isOn(has('disable-ticketing') ?? 'off')
  const [port, addr, password] = [has('port'), has('addr'), has('password')]
  const isKnown = parameters.every(([key]) => SPICE_KEYS.includes(key)) && isOpen === (password === undefined)
  const isUnix = isOn(has('unix') ?? 'off')
  if (!isKnown || (port === undefined && !isUnix)) return void draft.keep(given)
  const at = isUnix
    ? {}
    : { port: Number(port), ...(addr === undefined || addr === LOOPBACK ? {} : { bind: addr }) }
  const spice = { ...at, ...(password === undefined ? {} : { password }) }
  draft.options.spice = Object.keys(spice).length === 0 ? true : spice
  if (isUnix)
    draft.translate(given, 'spice: true', 'the socket is in the run folder; vm.spice() returns its path')
  else if (addr === undefined) draft.translate(given, `spice, on ${LOOPBACK}`, ALL_ADDRESSES)
}

/** Readers for the display. */
export const displayReaders: Readers = {
  display: readDisplay,
  vnc: readVnc,
  spice: readSpice,
  k: (draft, { value }) => {
    draft.options.keyboardLayout = value
  },
  curses: readCurses,
  'no-frame': drop('the option was removed from QEMU'),
}
