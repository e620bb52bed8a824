import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { parseObject, readLines } from '../../../src/channel/json-lines.js'

function reader(maxChars: number) {
  const socket = new EventEmitter() as Socket
  const lines: string[] = []
  let tooLong = 0
  readLines(socket, {
    onLine: (line) => lines.push(line),
    onTooLong: () => tooLong++,
    maxChars: () => maxChars,
  })
  return { push: (text: string) => socket.emit('data', Buffer.from(text)), lines, tooLong: () => tooLong }
}

describe('`readLines()`', () => {
  test('a line above the limit is dropped completely, and the next line is read', () => {
    const { push, lines, tooLong } = reader(100)
    push('one\n')
    for (let round = 0; round < 20; round++) push('0123456789')
    push('\ntwo\n')
    expect(lines).toEqual(['one', 'two'])
    expect(tooLong()).toBe(1)
  })

  test('`onTooLong` is called repeatedly for a line that never ends', () => {
    const { push, lines, tooLong } = reader(100)
    for (let round = 0; round < 1000; round++) push('0123456789')
    expect(lines).toEqual([])
    expect(tooLong()).toBe(90)
  })

  test('a line above the limit is dropped even if it arrives in one chunk', () => {
    const { push, lines, tooLong } = reader(100)
    push(`one\n${'x'.repeat(101)}\ntwo\n`)
    expect(lines).toEqual(['one', 'two'])
    expect(tooLong()).toBe(1)
  })

  test('a line up to the limit is complete, regardless of the number of chunks', () => {
    const { push, lines, tooLong } = reader(100)
    for (let round = 0; round < 10; round++) push('0123456789')
    push(`\n${'x'.repeat(99)}`)
    push('y\n')
    expect(lines).toEqual(['0123456789'.repeat(10), `${'x'.repeat(99)}y`])
    expect(tooLong()).toBe(0)
  })
})

describe('`parseObject()`', () => {
  test.each([
    ['nested', `{"return":${'['.repeat(300)}${']'.repeat(300)}}`],
    ['nested and truncated', `{"return":${'{"a":'.repeat(300)}`],
    ['large, with many values', `{"return":[${'0,'.repeat(600_000)}0]}`],
    ['large, with many strings', `{"return":[${'"",'.repeat(300_000)}""]}`],
    ['large, with many quotes in one string', `{"return":"${'\\"'.repeat(600_000)}"}`],
  ])('an object that exceeds the limits is rejected: %s', (_, line) => {
    expect(parseObject(line)).toBeUndefined()
  })

  test.each([
    ['with brackets in a string', { text: '['.repeat(100_000) }],
    ['with quotes and backslashes', { a: '"\\', b: '\\\\"', c: ['\\', '"', '\\"\\'] }],
    ['with a long string', { out: 'QUJD'.repeat(5_000_000) }],
    ['nested as deep as real responses', JSON.parse(`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`) as object],
  ])('an object %s is parsed', (_, value) => {
    expect(parseObject(JSON.stringify(value))).toEqual(value)
  })
})
