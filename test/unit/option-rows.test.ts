import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { optionSchema } from '../../src/spec/option-schema.js'

interface Row {
  readonly known: string
  readonly options: readonly string[]
  readonly tests?: ReadonlyArray<readonly [file: string, title: string]>
  readonly gap?: string
}

const ROOT = resolve(import.meta.dirname, '../..')
// @ts-expect-error: the script of the documentation has no types
const { ROWS } = (await import('../../docs/generate/rows.mjs')) as { ROWS: readonly Row[] }

/** Known gaps: rows without a test. */
const GAPS: readonly string[] = []

test('each row of the qemu-kvm table names existing tests or a known gap', () => {
  for (const { known, tests = [], gap } of ROWS) {
    expect(tests.length > 0 || gap !== undefined, `${known} has neither a test nor a gap`).toBe(true)
    for (const [file, title] of tests) {
      const text = readFileSync(resolve(ROOT, file), 'utf8').replaceAll(/\\(['"])/g, '$1')
      expect(text, `${known}: ${file} does not contain this test`).toContain(title)
    }
  }
  expect(ROWS.flatMap(({ gap }) => gap ?? [])).toEqual(GAPS)
})

test('each row of the qemu-kvm table names existing options', () => {
  const known = Object.keys(optionSchema.shape)
  for (const { options } of ROWS) for (const option of options) expect(known).toContain(option)
})
