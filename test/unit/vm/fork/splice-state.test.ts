import { expect, test } from 'vitest'
import { spliceState } from '../../../../src/vm/fork/splice-state.js'

const HEADER = Buffer.from('QEVM\0\0\0\x03', 'latin1')
const RAM = Buffer.from('sections with RAM')
const FOOTER = Buffer.from([0x7e, 0, 0, 0, 2])

/** Builds the section of a device: type, id, name, instance, version, content. */
function section(name: string, content: string): Buffer {
  return Buffer.concat([
    Buffer.from([4, 0, 0, 0, 2, name.length]),
    Buffer.from(name),
    Buffer.from([0, 0, 0, 0, 0, 0, 0, 1]),
    Buffer.from(content),
    FOOTER,
  ])
}

const END = Buffer.alloc(300)
const saved = Buffer.concat([HEADER, RAM, section('timer', 'old'), section('cpu', 'old'), END])
const devices = Buffer.concat([HEADER, section('timer', 'new'), section('cpu', 'new'), END])

test('the devices of a state are replaced, and its sections with RAM are kept', () => {
  const expected = Buffer.concat([HEADER, RAM, section('timer', 'new'), section('cpu', 'new'), END])
  expect(spliceState(saved, devices)?.equals(expected)).toBe(true)
})

test.each([
  ['the state has another first device', saved, Buffer.concat([HEADER, section('slirp', 'new'), END])],
  ['the first device appears twice', Buffer.concat([saved, section('timer', 'again')]), devices],
  ['the saved devices are truncated', saved, devices.subarray(0, 20)],
  ['the saved devices start with another section', saved, Buffer.concat([HEADER, RAM, END])],
  ['the saved devices are empty', saved, Buffer.alloc(0)],
  ['the state is empty', Buffer.alloc(0), devices],
])('nothing is spliced if %s', (_, base, other) => {
  expect(spliceState(base, other)).toBeUndefined()
})
