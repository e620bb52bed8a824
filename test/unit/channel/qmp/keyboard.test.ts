import { expect, test } from 'vitest'
import { encodeKeys } from '../../../../src/channel/qmp/keyboard.js'

test.each([
  ['Enter', ['ret']],
  ['Ctrl-Alt-Delete', ['ctrl', 'alt', 'delete']],
  ['F12', ['f12']],
  ['a', ['a']],
  ['A', ['shift', 'a']],
  ['7', ['7']],
  ['&', ['shift', '7']],
  ['-', ['minus']],
  ['_', ['shift', 'minus']],
  ['"', ['shift', 'apostrophe']],
  ['Ctrl-c', ['ctrl', 'c']],
  ['Ctrl--', ['ctrl', 'minus']],
  ['Shift-A', ['shift', 'a']],
  [' ', ['spc']],
])('the key %j is sent as %j', (key, codes) => {
  expect(encodeKeys(key)).toEqual(codes)
})

test.each([
  ['Entr', "Use 'Enter'."],
  ['hello world', 'Use `vm.keyboard.type()` to type text.'],
  ['ä', 'Use `vm.keyboard.type()` to type text.'],
  ['', 'Use `vm.keyboard.type()` to type text.'],
])('the key %j is rejected', (key, hint) => {
  expect(() => encodeKeys(key)).toThrow(hint)
})
