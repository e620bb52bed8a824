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

describe('a line', () => {
  test('above the limit is dropped to its end, once, and what follows is read', () => {
    const { push, lines, tooLong } = reader(100)
    push('one\n')
    for (let round = 0; round < 20; round++) push('0123456789')
    push('\ntwo\n')
    expect(lines).toEqual(['one', 'two'])
    expect(tooLong()).toBe(1)
  })

  test('without an end is told of again and again, for who comes to wait meanwhile', () => {
    const { push, lines, tooLong } = reader(100)
    for (let round = 0; round < 1000; round++) push('0123456789')
    expect(lines).toEqual([])
    expect(tooLong()).toBe(90)
  })

  test('above the limit is dropped also where it comes whole', () => {
    const { push, lines, tooLong } = reader(100)
    push(`one\n${'x'.repeat(101)}\ntwo\n`)
    expect(lines).toEqual(['one', 'two'])
    expect(tooLong()).toBe(1)
  })

  test('up to the limit comes whole, in however many pieces', () => {
    const { push, lines, tooLong } = reader(100)
    for (let round = 0; round < 10; round++) push('0123456789')
    push(`\n${'x'.repeat(99)}`)
    push('y\n')
    expect(lines).toEqual(['0123456789'.repeat(10), `${'x'.repeat(99)}y`])
    expect(tooLong()).toBe(0)
  })
})

describe('an object', () => {
  test.each([
    ['nested', `{"return":${'['.repeat(300)}${']'.repeat(300)}}`],
    ['nested, and cut', `{"return":${'{"a":'.repeat(300)}`],
    ['of many values', `{"return":[${'0,'.repeat(600_000)}0]}`],
    ['of many texts', `{"return":[${'"",'.repeat(300_000)}""]}`],
    ['of one text with many quotes', `{"return":"${'\\"'.repeat(600_000)}"}`],
  ])('%s beyond any answer is none', (_, line) => {
    expect(parseObject(line)).toBeUndefined()
  })

  test.each([
    ['with brackets in a text', { text: '['.repeat(100_000) }],
    ['with quotes and backslashes', { a: '"\\', b: '\\\\"', c: ['\\', '"', '\\"\\'] }],
    ['with a long text', { out: 'QUJD'.repeat(5_000_000) }],
    ['nested as deep as answers are', JSON.parse(`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`) as object],
  ])('%s is parsed', (_, value) => {
    expect(parseObject(JSON.stringify(value))).toEqual(value)
  })
})
