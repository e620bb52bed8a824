import { nearestName } from '../../common/nearest-name.js'
import { vmError } from '../../errors.js'

/** Keys that send one character. */
const PLAIN = {
  Enter: '\r',
  Tab: '\t',
  Escape: '\x1b',
  Backspace: '\x7f',
  Space: ' ',
} as const

/** Keys that send `CSI letter`, or `SS3 letter` in the application mode (xterm's ctlseqs). */
const CURSOR = { Up: 'A', Down: 'B', Right: 'C', Left: 'D', End: 'F', Home: 'H' } as const

/**
 * Keys that send `CSI number ~`; F1 to F4 send `SS3 letter` (xterm's ctlseqs, "PC-Style Function
 * Keys").
 */
const NUMBERED = {
  Insert: 2,
  Delete: 3,
  PageUp: 5,
  PageDown: 6,
  F5: 15,
  F6: 17,
  F7: 18,
  F8: 19,
  F9: 20,
  F10: 21,
  F11: 23,
  F12: 24,
} as const
const FUNCTION = { F1: 'P', F2: 'Q', F3: 'R', F4: 'S' } as const

const MODIFIERS = { Shift: 1, Alt: 2, Ctrl: 4 } as const

/** Key of a terminal with a name. */
type NamedKey =
  | keyof typeof PLAIN
  | keyof typeof CURSOR
  | keyof typeof NUMBERED
  | keyof typeof FUNCTION
  | 'Shift-Tab'
/** Modifier key of a terminal. */
type Modifier = keyof typeof MODIFIERS

/**
 * Key of a terminal: a name or one character, with optional prefixes `Ctrl-`, `Alt-` and `Shift-`:
 * `'Ctrl-C'`.
 */
export type SerialKey = NamedKey | `${Modifier}-${string}` | (string & {})

const NAMES = [...[PLAIN, CURSOR, NUMBERED, FUNCTION].flatMap(Object.keys), 'Ctrl-C', 'Shift-Tab', 'Alt-x']

/**
 * Returns the characters that xterm sends for a key.
 *
 * @throws {UsageError} INVALID_OPTIONS when the key is unknown.
 */
export function encodeKey(key: string, isApplicationMode = false): string {
  const parts = key.length > 1 ? /^((?:(?:Ctrl|Alt|Shift)-)*)(.+)$/su.exec(key) : null
  const base = parts?.[2] ?? key
  const modifiers = new Set((parts?.[1] ?? '').split('-').filter((word) => word !== '') as Modifier[])
  const encoded = encode(base, modifiers, isApplicationMode)
  if (encoded !== undefined) return encoded
  const near = nearestName(key, NAMES)
  throw vmError('INVALID_OPTIONS', {
    summary: 'serial.press() does not support this key.',
    expected: `a name (${NAMES.slice(0, -3).join(', ')}) or one character, optionally with Ctrl-, Alt- or Shift-`,
    got: JSON.stringify(key),
    hint: near === undefined ? 'Use `serial.type()` to type text.' : `Use '${near}'.`,
  })
}

function encode(base: string, modifiers: Set<Modifier>, isApplicationMode: boolean): string | undefined {
  // xterm's parameter for modifiers is their sum plus one.
  const parameter = 1 + [...modifiers].reduce((sum, name) => sum + MODIFIERS[name], 0)
  if (Object.hasOwn(CURSOR, base)) {
    const letter = CURSOR[base as keyof typeof CURSOR]
    if (parameter > 1) return `\x1b[1;${parameter}${letter}`
    return `\x1b${isApplicationMode ? 'O' : '['}${letter}`
  }
  if (Object.hasOwn(FUNCTION, base)) {
    const letter = FUNCTION[base as keyof typeof FUNCTION]
    return parameter > 1 ? `\x1b[1;${parameter}${letter}` : `\x1bO${letter}`
  }
  if (Object.hasOwn(NUMBERED, base)) {
    const number = NUMBERED[base as keyof typeof NUMBERED]
    return parameter > 1 ? `\x1b[${number};${parameter}~` : `\x1b[${number}~`
  }
  if (base === 'Tab' && modifiers.has('Shift')) return '\x1b[Z'
  const character = Object.hasOwn(PLAIN, base) ? PLAIN[base as keyof typeof PLAIN] : base
  if ([...character].length !== 1) return undefined
  const shifted = modifiers.has('Shift') ? character.toUpperCase() : character
  const controlled = modifiers.has('Ctrl') ? toControl(shifted) : shifted
  if (controlled === undefined) return undefined
  return modifiers.has('Alt') ? `\x1b${controlled}` : controlled
}

/** Returns the control character of a character: its low five bits. */
function toControl(character: string): string | undefined {
  if (character === ' ') return '\0'
  if (character === '?') return '\x7f'
  const upper = character.toUpperCase()
  return /^[@-_]$/.test(upper) ? String.fromCharCode(upper.charCodeAt(0) & 0x1f) : undefined
}
