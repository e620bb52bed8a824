import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')

/** Each row of the tables: a promise, the file with its test, and the test's title. */
function readPromises() {
  const page = readFileSync(resolve(ROOT, 'docs/security.md'), 'utf8')
  return [...page.matchAll(/^\| (.+?) +\| `(test\/\S+)` +\| (.+?) +\|$/gm)].map(
    ([, promise = '', file = '', title = '']) => ({ promise, file, title }),
  )
}

/** Replaces the placeholders of titles of `test.each()`, as the page shows them. */
const showTitles = (source: string) => source.replaceAll(/%[sj]/g, '…')

test('each promise of the page on security has its test', () => {
  const promises = readPromises()
  expect(promises.length).toBeGreaterThan(30)
  const broken = promises.filter(({ file, title }) => {
    const path = resolve(ROOT, file)
    return !existsSync(path) || !showTitles(readFileSync(path, 'utf8')).includes(`'${title}'`)
  })
  expect(broken).toEqual([])
})
