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
])('on a keyboard of the layout %s, %j is %j', (layout, text, codes) => {
  expect(encodeText(text, layout)).toEqual(codes)
})

test.each<KeyboardLayout>(['us', 'uk', 'de', 'fr'])('the layout %s has what a command line has', (layout) => {
  const printable = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index))
  // Dead keys make these of two strokes.
  const dead = { us: '', uk: '', de: '^`', fr: '' }[layout as 'us']
  const text = printable.filter((one) => !dead.includes(one)).join('')
  expect(encodeText(text, layout)).toHaveLength(text.length)
})

test('a character that the layout lacks is told, with a layout that has it', () => {
  const failure = (text: string) => {
    try {
      encodeText(text, 'us')
    } catch (error) {
      return (error as VMError).message
    }
    return undefined
  }
  expect(failure('größe')).toBe(
    "A keyboard of the layout 'us' has no key for 'ö', 'ß': nothing was typed.\nFix: type it with { layout: 'de' }, if the guest has that layout.",
  )
  expect(failure('日')).toBe(
    "A keyboard of the layout 'us' has no key for '日': nothing was typed.\nFix: send the text by `vm.ssh` or `vm.upload()`: no keyboard that withvm knows has these characters.",
  )
  expect(() => encodeText('a', 'dvorak' as KeyboardLayout)).toThrow("'us' or 'uk' or 'de' or 'fr'")
})

test('names of keys may be written in any way, and are QEMU’s too', () => {
  expect(encodeKeys('ctrl-alt-f2')).toEqual(['ctrl', 'alt', 'f2'])
  expect(encodeKeys('Meta-pgdn')).toEqual(['meta_l', 'pgdn'])
  expect(encodeKeys('AltGr-q')).toEqual(['alt_r', 'q'])
})
