import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')

/** Patterns for the start and the end of each text. A summary may start with the function that the user called. */
const FORMS = {
  summary: { first: /^(?:[A-Z`'"]|\$\{|[a-z][\w.]*\(\))/, last: /(?:[.!?]|\})$/ },
  hint: { first: /^(?:[A-Z`]|\$\{)/, last: /(?:[.!?]|\})$/ },
} as const

const files = ['src', 'fixtures', 'images'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
)

/** Returns the alternatives of an expression of string literals at `start`: `a + b` is one, `isX ? a : b` are two. */
function readTexts(source: string, start: number): string[] {
  const texts: string[] = []
  let text: string | undefined
  let depth = 0
  for (let at = start; at < source.length; at++) {
    const char = source[at] as string
    if (depth === 0 && (char === ',' || char === '}' || char === ';')) break
    if (depth === 0 && (char === '?' || char === ':')) {
      if (text !== undefined) texts.push(text)
      text = undefined
    } else if ('([{'.includes(char)) depth++
    else if (')]}'.includes(char)) depth--
    else if (`'"\``.includes(char)) {
      const end = endOfLiteral(source, at)
      if (depth === 0) text = (text ?? '') + source.slice(at + 1, end)
      at = end
    }
  }
  if (text !== undefined) texts.push(text)
  return texts
}

/** Returns the index of the closing quote of the literal at `start`. */
function endOfLiteral(source: string, start: number): number {
  const quote = source[start] as string
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === '\\') at++
    else if (source[at] === quote) return at
    else if (quote === '`' && source.startsWith('${', at)) at = endOfPlaceholder(source, at + 2)
  }
  return source.length
}

function endOfPlaceholder(source: string, start: number): number {
  let depth = 1
  for (let at = start; at < source.length; at++) {
    const char = source[at] as string
    if (char === '{') depth++
    else if (char === '}' && --depth === 0) return at
    else if (`'"\``.includes(char)) at = endOfLiteral(source, at)
  }
  return source.length
}

test.each(Object.entries(FORMS))('each %s of an error is a sentence', (name, { first, last }) => {
  const wrong = files.flatMap((file) => {
    const source = readFileSync(join(ROOT, file), 'utf8')
    return [...source.matchAll(new RegExp(`\\b${name}:\\s`, 'g'))].flatMap(({ index, 0: match }) => {
      // A comparison with an empty string is not a text of an error.
      const texts = readTexts(source, index + match.length).filter((text) => /\s/.test(text))
      return texts
        .filter((text) => !first.test(text) || !last.test(text.trimEnd()))
        .map((text) => `${file}:${source.slice(0, index).split('\n').length} ${text}`)
    })
  })
  expect(wrong).toEqual([])
})

/** Returns a text without placeholders, and without the parts in quotes and backticks. */
function stripQuoted(text: string): string {
  let plain = ''
  for (let at = 0; at < text.length; at++) {
    if (text.startsWith('${', at)) at = endOfPlaceholder(text, at + 2)
    else if (text[at] !== '\\') plain += text[at]
  }
  return plain.replaceAll(/(?<!\w)'[^']*'|"[^"]*"|`[^`]*`/g, '')
}

test('no `expected` contains a colon, because `, got …` follows it in the same line', () => {
  const wrong = files.flatMap((file) => {
    const source = readFileSync(join(ROOT, file), 'utf8')
    return [...source.matchAll(/\bexpected(?::| =)\s/g)].flatMap(({ index, 0: match }) =>
      readTexts(source, index + match.length)
        .filter((text) => stripQuoted(text).includes(': '))
        .map((text) => `${file}:${source.slice(0, index).split('\n').length} ${text}`),
    )
  })
  expect(wrong).toEqual([])
})
