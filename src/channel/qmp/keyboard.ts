import { setTimeout as sleep } from 'node:timers/promises'
import { type Duration, parseDuration } from '../../common/duration.js'
import { nearestNames } from '../../common/nearest-name.js'
import { vmError } from '../../errors.js'
import { findKeys, KEYBOARD_LAYOUTS, type KeyboardLayout } from './key-layouts.js'
import type { QmpClient } from './qmp-client.js'

/** Keys with a name, and QEMU's for them (its QAPI schema, `QKeyCode`). */
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

/** The same, found however they are written, and by QEMU's names too. */
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
/** How long a key is down, milliseconds: firmware looks at its keyboard now and then. */
const HOLD_MS = 50

/**
 * A key: a name as `Enter`, `Down`, `F2`, one character, or either behind `Ctrl-`, `Alt-`, `Shift-`, `AltGr-` and `Meta-`,
 * in capitals or not: `ctrl-alt-f2`.
 */
export type KeyboardKey = string

export interface KeyboardTypeOptions {
  /** How long between two characters. @default '20ms' */
  readonly delay?: Duration
  /** How the guest takes the keyboard to be labelled: what it was told in its set-up. @default 'us' */
  readonly layout?: KeyboardLayout
}

/** The guest's keyboard: for firmware, menus and consoles that are on a display. */
export class Keyboard {
  readonly #requireMonitor: () => QmpClient

  constructor(requireMonitor: () => QmpClient) {
    this.#requireMonitor = requireMonitor
  }

  /**
   * Presses keys, one after the other. A character is the key that has it on a US keyboard.
   *
   * @throws {UsageError} INVALID_OPTIONS when there is no such key, VM_NOT_RUNNING.
   * @example await vm.keyboard.press('Down', 'Enter', 'Ctrl-Alt-Delete')
   */
  async press(...keys: readonly KeyboardKey[]): Promise<void> {
    const all = keys.map(encodeKeys) // all of them are known, or none is pressed
    for (const codes of all) await this.#send(codes)
  }

  /**
   * Types a text, which may have several lines.
   *
   * @throws {UsageError} INVALID_OPTIONS when the layout lacks one of its characters: then nothing is typed. VM_NOT_RUNNING.
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
    // QEMU lets a key go by itself, and forgets one that comes before.
    await sleep(HOLD_MS * 2)
  }
}

/**
 * QEMU's names of the keys to be down at once.
 *
 * @throws {UsageError} INVALID_OPTIONS
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
    summary: 'keyboard.press() got a key that the keyboard does not have.',
    expected: `a name (${Object.keys(NAMED).join(', ')}), one character, or either with Ctrl-, Alt-, Shift-, AltGr- or Meta-`,
    got: JSON.stringify(key),
    hint: near.length === 0 ? 'To write a text, use keyboard.type().' : `Did you mean '${near[0]}'?`,
  })
}

/**
 * QEMU's names of the keys to be down at once, for each character.
 *
 * @throws {UsageError} INVALID_OPTIONS
 */
export function encodeText(text: string, layout: KeyboardLayout): Array<readonly string[]> {
  if (!KEYBOARD_LAYOUTS.includes(layout)) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'keyboard.type() got a layout that it does not know.',
      expected: KEYBOARD_LAYOUTS.map((name) => `'${name}'`).join(' or '),
      got: JSON.stringify(layout) ?? String(layout),
      hint: 'set one of those in the guest, or send the keys by `vm.keyboard.press()`.',
    })
  }
  const characters = [...text]
  const missing = [...new Set(characters.filter((one) => findKeys(one, layout) === undefined))]
  if (missing.length === 0) return characters.map((one) => findKeys(one, layout) ?? [])
  const others = KEYBOARD_LAYOUTS.filter((other) => missing.every((one) => findKeys(one, other)))
  throw vmError('INVALID_OPTIONS', {
    summary: `A keyboard of the layout '${layout}' has no key for ${missing.map((one) => `'${one}'`).join(', ')}: nothing was typed.`,
    hint:
      others.length === 0
        ? 'send the text by `vm.ssh` or `vm.upload()`: no keyboard that withvm knows has these characters.'
        : `type it with { layout: '${others[0]}' }, if the guest has that layout.`,
  })
}
