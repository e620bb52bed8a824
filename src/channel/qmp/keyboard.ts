import { setTimeout as sleep } from 'node:timers/promises'
import { type Duration, parseDuration } from '../../common/duration.js'
import { nearestNames } from '../../common/nearest-name.js'
import { vmError } from '../../errors.js'
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
  ...Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`F${index + 1}`, `f${index + 1}`])),
} as Readonly<Record<string, string>>

const MODIFIERS: Readonly<Record<string, string>> = { Ctrl: 'ctrl', Alt: 'alt', Shift: 'shift' }

/** Characters of a US keyboard that are no letters and digits; with Shift the second. */
const SIGNS: Readonly<Record<string, string>> = {
  '-_': 'minus',
  '=+': 'equal',
  '[{': 'bracket_left',
  ']}': 'bracket_right',
  ';:': 'semicolon',
  '\'"': 'apostrophe',
  '`~': 'grave_accent',
  '\\|': 'backslash',
  ',<': 'comma',
  '.>': 'dot',
  '/?': 'slash',
}
const SHIFTED_DIGITS = ')!@#$%^&*('
/** How long a key is down, milliseconds: firmware looks at its keyboard now and then. */
const HOLD_MS = 50

/** A key: a name as `Enter`, `Down`, `F2`, one character, or either behind `Ctrl-`, `Alt-` and `Shift-`. */
export type KeyboardKey = string

/** The guest's keyboard, with a US layout: for firmware, menus and consoles that are on a display. */
export class Keyboard {
  readonly #requireMonitor: () => QmpClient

  constructor(requireMonitor: () => QmpClient) {
    this.#requireMonitor = requireMonitor
  }

  /**
   * Presses keys, one after the other.
   *
   * @throws {UsageError} INVALID_OPTIONS when there is no such key, VM_NOT_RUNNING.
   * @example await vm.keyboard.press('Down', 'Enter', 'Ctrl-Alt-Delete')
   */
  async press(...keys: readonly KeyboardKey[]): Promise<void> {
    const all = keys.map(encodeKeys) // all of them are known, or none is pressed
    for (const codes of all) await this.#send(codes)
  }

  /** Types a text. @default delay '20ms' between two characters */
  async type(text: string, { delay = '20ms' }: { readonly delay?: Duration } = {}): Promise<void> {
    const delayMs = parseDuration(delay) ?? 0
    const all = [...text].map((character) => encodeKeys(character === '\n' ? 'Enter' : character))
    for (const codes of all) {
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
  const parts = key.length > 1 ? /^((?:(?:Ctrl|Alt|Shift)-)*)(.+)$/su.exec(key) : null
  const modifiers = (parts?.[1] ?? '').split('-').filter((word) => word !== '')
  const codes = encodeBase(parts?.[2] ?? key)
  if (codes !== undefined)
    return [...new Set([...modifiers.map((name) => MODIFIERS[name] as string), ...codes])]
  const near = nearestNames(key, Object.keys(NAMED))
  throw vmError('INVALID_OPTIONS', {
    summary: 'keyboard.press() got a key that the keyboard does not have.',
    expected: `a name (${Object.keys(NAMED).join(', ')}), one character, or either with Ctrl-, Alt- or Shift-`,
    got: JSON.stringify(key),
    hint: near.length === 0 ? 'To write a text, use keyboard.type().' : `Did you mean '${near[0]}'?`,
  })
}

function encodeBase(base: string): string[] | undefined {
  if (Object.hasOwn(NAMED, base)) return [NAMED[base] as string]
  if (base === ' ') return ['spc']
  if (/^[a-z0-9]$/.test(base)) return [base]
  if (/^[A-Z]$/.test(base)) return ['shift', base.toLowerCase()]
  const digit = base.length === 1 ? SHIFTED_DIGITS.indexOf(base) : -1
  if (digit >= 0) return ['shift', String(digit)]
  const [pair, code] = Object.entries(SIGNS).find(([both]) => base.length === 1 && both.includes(base)) ?? []
  if (pair === undefined || code === undefined) return undefined
  return pair.indexOf(base) === 1 ? ['shift', code] : [code]
}
