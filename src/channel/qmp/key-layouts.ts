/** How a keyboard is labelled: which keys make which characters. */
export type KeyboardLayout = 'us' | 'uk' | 'de' | 'fr'

/** The keys of a PC's keyboard that make characters, row by row, by QEMU's names for them (its QAPI schema, `QKeyCode`). */
const ROWS = [
  ['grave_accent', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', 'minus', 'equal'],
  ['q', 'w', 'e', 'r', 't', 'y', 'u', 'i', 'o', 'p', 'bracket_left', 'bracket_right'],
  ['a', 's', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'semicolon', 'apostrophe', 'backslash'],
  ['less', 'z', 'x', 'c', 'v', 'b', 'n', 'm', 'comma', 'dot', 'slash'],
] as const

/** For each row what its keys make: alone, with Shift, with AltGr. A space is a key that makes nothing, or a dead key. */
type Labels = readonly (readonly [plain: string, shifted: string, altGr?: string])[]

/** The layouts of these names in the data of the X keyboard extension (xkeyboard-config: `us`, `gb`, `de`, `fr`), first variant. */
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

/** The keys to be down at once for a character; undefined where the layout does not have it. */
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
