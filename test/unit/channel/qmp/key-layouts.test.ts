import { expect, test } from 'vitest'
import type { KeyboardLayout } from '../../../../src/channel/qmp/key-layouts.js'
import { encodeKeys, encodeText } from '../../../../src/channel/qmp/keyboard.js'
import type { VMError } from '../../../../src/errors.js'

test.each<[KeyboardLayout, string, string[][]]>([
  ['us', 'z@\n', [['z'], ['shift', '2'], ['ret']]],
  [
    'uk',
    '"£|',
    [
      ['shift', '2'],
      ['shift', '3'],
      ['shift', 'less'],
    ],
  ],
  ['de', 'zY-@', [['y'], ['shift', 'z'], ['slash'], ['alt_r', 'q']]],
  ['de', 'ß{ü', [['minus'], ['alt_r', '7'], ['bracket_left']]],
  ['fr', 'aQ1.', [['q'], ['shift', 'a'], ['shift', '1'], ['shift', 'comma']]],
  ['fr', 'é@ m', [['2'], ['alt_r', '0'], ['spc'], ['semicolon']]],
])('with the keyboard layout %s, the text %j is sent as %j', (layout, text, codes) => {
  expect(encodeText(text, layout)).toEqual(codes)
})

test.each<KeyboardLayout>(['us', 'uk', 'de', 'fr'])(
  'the keyboard layout %s has all characters of a command line',
  (layout) => {
    const printable = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index))
    // Typed with dead keys in these layouts.
    const dead = { us: '', uk: '', de: '^`', fr: '' }[layout as 'us']
    const text = printable.filter((one) => !dead.includes(one)).join('')
    expect(encodeText(text, layout)).toHaveLength(text.length)
  },
)

test('a missing character is reported with a layout that has it', () => {
  const failure = (text: string) => {
    try {
      encodeText(text, 'us')
    } catch (error) {
      return (error as VMError).message
    }
    return undefined
  }
  expect(failure('größe')).toBe(
    "The keyboard layout 'us' has no key for 'ö', 'ß': nothing was typed.\nFix: Type it with { layout: 'de' }, if the guest has that layout.",
  )
  expect(failure('日')).toBe(
    "The keyboard layout 'us' has no key for '日': nothing was typed.\nFix: Send the text with `vm.ssh` or `vm.upload()`: no supported layout has these characters.",
  )
  expect(() => encodeText('a', 'dvorak' as KeyboardLayout)).toThrow("'us' or 'uk' or 'de' or 'fr'")
})

test("key names are case-insensitive and include QEMU's names", () => {
  expect(encodeKeys('ctrl-alt-f2')).toEqual(['ctrl', 'alt', 'f2'])
  expect(encodeKeys('Meta-pgdn')).toEqual(['meta_l', 'pgdn'])
  expect(encodeKeys('AltGr-q')).toEqual(['alt_r', 'q'])
})
