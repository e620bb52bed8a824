/** Keyboard layout: the mapping of keys to characters. */
export type KeyboardLayout = 'us' | 'uk' | 'de' | 'fr'

/** Character keys of a PC keyboard by row, with QEMU's names (QAPI schema, `QKeyCode`). */
const ROWS = [
  ['grave_accent', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', 'minus', 'equal'],
  ['q', 'w', 'e', 'r', 't', 'y', 'u', 'i', 'o', 'p', 'bracket_left', 'bracket_right'],
  ['a', 's', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'semicolon', 'apostrophe', 'backslash'],
  ['less', 'z', 'x', 'c', 'v', 'b', 'n', 'm', 'comma', 'dot', 'slash'],
] as const

/**
 * Characters of each row: without a modifier, with Shift, with AltGr. A space stands for no
 * character or a dead key.
 */
type Labels = readonly (readonly [plain: string, shifted: string, altGr?: string])[]

/**
 * Layouts of the X keyboard extension (xkeyboard-config: `us`, `gb`, `de`, `fr`), first variant.
 */
const LABELS: Readonly<Record<KeyboardLayout, Labels>> = {
  us: [
    ['`1234567890-=', '~!@#$%^&*()_+'],
    ['qwertyuiop[]', 'QWERTYUIOP{}'],
    ["asdfghjkl;'\\", 'ASDFGHJKL:"|'],
    [' zxcvbnm,./', ' ZXCVBNM<>?'],
  ],
  uk: [
    ['`1234567890-=', '¬!"£$%^&*()_+', '    €        '],
    ['qwertyuiop[]', 'QWERTYUIOP{}'],
    ["asdfghjkl;'#", 'ASDFGHJKL:@~'],
    ['\\zxcvbnm,./', '|ZXCVBNM<>?'],
  ],
  de: [
    [' 1234567890ß ', '°!"§$%&/()=? ', '  ²³   {[]}\\ '],
    ['qwertzuiopü+', 'QWERTZUIOPÜ*', '@ €        ~'],
    ['asdfghjklöä#', "ASDFGHJKLÖÄ'"],
    ['<yxcvbnm,.-', '>YXCVBNM;:_', '|      µ   '],
  ],
  fr: [
    ['²&é"\'(-è_çà)=', ' 1234567890°+', '  ~#{[|`\\^@]}'],
    ['azertyuiop $', 'AZERTYUIOP £', '  €        ¤'],
    ['qsdfghjklmù*', 'QSDFGHJKLM%µ'],
    ['<wxcvbn,;:!', '>WXCVBN?./§'],
  ],
}

const MODIFIERS = [[], ['shift'], ['alt_r']] as const

export const KEYBOARD_LAYOUTS = Object.keys(LABELS) as readonly KeyboardLayout[]

/**
 * Returns the keys that are pressed together for a character; undefined if the layout lacks the
 * character.
 */
export function findKeys(character: string, layout: KeyboardLayout): readonly string[] | undefined {
  if (character === ' ') return ['spc']
  if (character === '\n') return ['ret']
  if (character === '\t') return ['tab']
  for (const [row, keys] of ROWS.entries()) {
    for (const [level, modifiers] of MODIFIERS.entries()) {
      const at = [...(LABELS[layout][row]?.[level] ?? '')].indexOf(character)
      const key = keys[at]
      if (key !== undefined) return [...modifiers, key]
    }
  }
  return undefined
}
