import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { quoteWord, renderCommand } from '../../../../src/common/process/shell-quote.js'

test('a shell returns every quoted word unchanged', () => {
  const words = [
    '',
    'plain',
    'a b',
    "it's",
    '"$HOME"',
    '`id`',
    '\\',
    'a\nb',
    '*',
    '~',
    '-n',
    'ä€',
    '!!',
    ';&|<>()',
  ]
  const command = `printf '%s\\0' ${words.map(quoteWord).join(' ')}`
  const printed = execFileSync('/bin/sh', ['-c', command], { encoding: 'utf8' })
  expect(printed.split('\0').slice(0, -1)).toEqual(words)
})

test('a template quotes its arguments, an array word by word, and leaves the rest alone', () => {
  const command = renderCommand`cp ${['a b', 'c']} "$HOME"/${'d;e'} && kill -${9} ${1n} | wc`
  expect(command).toBe(`cp 'a b' c "$HOME"/'d;e' && kill -9 1 | wc`)
})

test('an escape in a template is passed as written', () => {
  expect(renderCommand`echo ${''}; printf 'a\\n'`).toBe("echo ''; printf 'a\\n'")
  expect(renderCommand`true ${[]}`).toBe('true ')
})

test('a backslash sequence that is invalid in JavaScript is an error, because its text is lost', () => {
  expect(() => renderCommand`printf '\033[0m' ${1}`).toThrow(
    new TypeError(
      "The command contains a backslash sequence that is invalid in JavaScript: write each backslash twice in printf '\\033[0m' ",
    ),
  )
})

test('an argument that cannot be a word is an error that names it', () => {
  expect(() => renderCommand(['rm ', ''], undefined as never)).toThrow(
    'Argument 1 of the command is of type undefined: expected a string, a number or an array of these.',
  )
  expect(() => renderCommand(['rm ', ' ', ''], 'a', null as never)).toThrow(
    'Argument 2 of the command is null',
  )
  expect(() => quoteWord('a\0b')).toThrow('NUL')
})
