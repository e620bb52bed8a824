import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { readLines } from '../../../src/channel/json-lines.js'

function reader(maxChars: number) {
  const socket = new EventEmitter() as Socket
  const lines: string[] = []
  let endless = 0
  readLines(
    socket,
    (line) => lines.push(line),
    () => endless++,
    maxChars,
  )
  return { push: (text: string) => socket.emit('data', Buffer.from(text)), lines, endless: () => endless }
}

test('a line without an end is given up at the limit, once, and nothing is read after it', () => {
  const { push, lines, endless } = reader(100)
  push('one\n')
  for (let round = 0; round < 20; round++) push('0123456789')
  push('\ntwo\n')
  expect(lines).toEqual(['one'])
  expect(endless()).toBe(1)
})

test('lines up to the limit come whole, in however many pieces', () => {
  const { push, lines, endless } = reader(100)
  for (let round = 0; round < 10; round++) push('0123456789')
  push(`\n${'x'.repeat(99)}`)
  push('y\n')
  expect(lines).toEqual(['0123456789'.repeat(10), `${'x'.repeat(99)}y`])
  expect(endless()).toBe(0)
})
