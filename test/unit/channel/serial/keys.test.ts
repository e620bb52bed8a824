import { expect, test } from 'vitest'
import { encodeKey } from '../../../../src/channel/serial/keys.js'

test.each([
  ['Enter', '\r'],
  ['Tab', '\t'],
  ['Escape', '\x1b'],
  ['Space', ' '],
  ['-', '-'],
  ['ä', 'ä'],
  ['😀', '😀'],
  ['Insert', '\x1b[2~'],
  ['Delete', '\x1b[3~'],
  ['F1', '\x1bOP'],
  ['F5', '\x1b[15~'],
  ['End', '\x1b[F'],
  ['Ctrl-a', '\x01'],
  ['Ctrl-A', '\x01'],
  ['Ctrl-Z', '\x1a'],
  ['Ctrl-]', '\x1d'],
  ['Ctrl-Space', '\0'],
  ['Ctrl-Right', '\x1b[1;5C'],
  ['Shift-Up', '\x1b[1;2A'],
  ['Ctrl-Alt-Delete', '\x1b[3;7~'],
  ['Shift-F1', '\x1b[1;2P'],
  ['Alt--', '\x1b-'],
  ['Alt-Enter', '\x1b\r'],
  ['Ctrl-Alt-c', '\x1b\x03'],
])('the key %s sends %j on the serial console', (key, bytes) => {
  expect(encodeKey(key)).toBe(bytes)
})

test.each(['', 'Return', 'ab', 'Ctrl-', 'Ctrl-ä', 'Ctrl-ab', 'Strg-C', 'constructor'])(
  '%j is not a key of the serial console',
  (key) => {
    expect(() => encodeKey(key)).toThrow('serial.press() does not support this key.')
  },
)
