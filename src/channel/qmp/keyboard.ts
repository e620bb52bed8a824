import { setTimeout as sleep } from 'node:timers/promises'
import type { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
import { type Duration, parseDuration } from '../../common/duration.js'
import { nearestNames } from '../../common/nearest-name.js'
import { vmError } from '../../errors.js'
import { findKeys, KEYBOARD_LAYOUTS, type KeyboardLayout } from './key-layouts.js'
import type { QmpClient } from './qmp-client.js'

/** Named keys and QEMU's names for them (QAPI schema, `QKeyCode`). */
const NAMED = {
  Enter: 'ret',
  Escape: 'esc',
  Tab: 'tab',
  Space: 'spc',
  Backspace: 'backspace',
  Delete: 'delete',
  Insert: 'insert',
  Home: 'home',
  End: 'end',
  PageUp: 'pgup',
  PageDown: 'pgdn',
  Up: 'up',
  Down: 'down',
  Left: 'left',
  Right: 'right',
  Print: 'print',
  Pause: 'pause',
  Menu: 'menu',
  CapsLock: 'caps_lock',
  NumLock: 'num_lock',
  ScrollLock: 'scroll_lock',
  ...Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`F${index + 1}`, `f${index + 1}`])),
} as Readonly<Record<string, string>>

/** Keys by lowercase name and by QEMU's name. */
const BY_NAME = new Map(
  Object.entries(NAMED).flatMap(([name, code]) => [
    [name.toLowerCase(), code],
    [code, code],
  ]),
)

const MODIFIERS: Readonly<Record<string, string>> = {
  ctrl: 'ctrl',
  alt: 'alt',
  shift: 'shift',
  altgr: 'alt_r',
  meta: 'meta_l',
}
/** Time for which a key is held: firmware polls its keyboard slowly. */
const HOLD_MS = 50

/**
 * Key: a name such as `Enter`, `Down` or `F2`, or one character, with optional prefixes `Ctrl-`,
 * `Alt-`, `Shift-`, `AltGr-` and `Meta-`. Case-insensitive: `ctrl-alt-f2`.
 */
export type KeyboardKey = string

/** Options of `vm.keyboard.type()` and `vm.type()`. */
export interface KeyboardTypeOptions {
  /** Delay between two characters. @default '20ms' */
  readonly delay?: Duration | undefined
  /** Keyboard layout that is configured in the guest. @default 'us' */
  readonly layout?: KeyboardLayout | undefined
}

/** Keyboard of the guest, for firmware, menus and consoles on the display. */
export class Keyboard {
  static {
    traceCalls(Keyboard, 'vm.keyboard', ['press', 'type'])
  }

  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #requireMonitor: () => QmpClient

  /** @internal */
  constructor(requireMonitor: () => QmpClient) {
    this.#requireMonitor = requireMonitor
  }

  /**
   * Presses keys in sequence. A character stands for its key on a US keyboard.
   *
   * @throws {UsageError} INVALID_OPTIONS when a key is unknown, VM_NOT_RUNNING when the guest is
   *   powered off.
   * @example await vm.keyboard.press('Down', 'Enter', 'Ctrl-Alt-Delete')
   */
  async press(...keys: readonly KeyboardKey[]): Promise<void> {
    const all = keys.map(encodeKeys) // throws before any key is pressed
    for (const codes of all) await this.#send(codes)
  }

  /**
   * Types text of one or more lines.
   *
   * @throws {UsageError} INVALID_OPTIONS when the layout lacks a character, before anything is
   *   typed; VM_NOT_RUNNING when the guest is powered off.
   * @example await vm.keyboard.type('größer\n', { layout: 'de' })
   */
  async type(text: string, { delay = '20ms', layout = 'us' }: KeyboardTypeOptions = {}): Promise<void> {
    const delayMs = parseDuration(delay) ?? 0
    for (const codes of encodeText(text, layout)) {
      await this.#send(codes)
      await sleep(delayMs)
    }
  }

  async #send(codes: readonly string[]): Promise<void> {
    const keys = codes.map((data) => ({ type: 'qcode', data }) as const)
    await this.#requireMonitor().execute('send-key', { keys, 'hold-time': HOLD_MS })
    // QEMU releases the keys after the hold time and drops keys that are sent earlier.
    await sleep(HOLD_MS * 2)
  }
}

/**
 * Returns QEMU's names of the keys that are pressed together.
 *
 * @throws {UsageError} INVALID_OPTIONS when the key is unknown.
 */
export function encodeKeys(key: string): string[] {
  const parts = key.length > 1 ? /^((?:(?:ctrl|alt|shift|altgr|meta)-)*)(.+)$/isu.exec(key) : null
  const modifiers = (parts?.[1] ?? '').split('-').filter((word) => word !== '')
  const base = parts?.[2] ?? key
  const named = BY_NAME.get(base.toLowerCase())
  const codes = named === undefined ? findKeys(base, 'us') : [named]
  if (codes !== undefined)
    return [...new Set([...modifiers.map((name) => MODIFIERS[name.toLowerCase()] as string), ...codes])]
  const near = nearestNames(key, Object.keys(NAMED))
  throw vmError('INVALID_OPTIONS', {
    summary: 'vm.keyboard.press() does not support this key.',
    expected: `a name (${Object.keys(NAMED).join(', ')}) or one character, optionally with Ctrl-, Alt-, Shift-, AltGr- or Meta-`,
    got: JSON.stringify(key),
    hint: near.length === 0 ? 'Use `vm.keyboard.type()` to type text.' : `Use '${near[0]}'.`,
  })
}

/**
 * Returns QEMU's names of the keys that are pressed together for each character.
 *
 * @throws {UsageError} INVALID_OPTIONS when the layout is unknown or lacks a character.
 */
export function encodeText(text: string, layout: KeyboardLayout): Array<readonly string[]> {
  if (!KEYBOARD_LAYOUTS.includes(layout)) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'vm.keyboard.type() does not support this layout.',
      expected: KEYBOARD_LAYOUTS.map((name) => `'${name}'`).join(' or '),
      got: JSON.stringify(layout) ?? String(layout),
      hint: 'Configure one of these layouts in the guest, or send the keys with `vm.keyboard.press()`.',
    })
  }
  const characters = [...text]
  const missing = [...new Set(characters.filter((one) => findKeys(one, layout) === undefined))]
  if (missing.length === 0) return characters.map((one) => findKeys(one, layout) ?? [])
  const others = KEYBOARD_LAYOUTS.filter((other) => missing.every((one) => findKeys(one, other)))
  throw vmError('INVALID_OPTIONS', {
    summary: `The keyboard layout '${layout}' has no key for ${missing.map((one) => `'${one}'`).join(', ')}: nothing was typed.`,
    hint:
      others.length === 0
        ? 'Send the text with `vm.ssh` or `vm.upload()`: no supported layout has these characters.'
        : `Type it with { layout: '${others[0]}' }, if the guest has that layout.`,
  })
}
