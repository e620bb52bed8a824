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
// @ts-expect-error: a script of the documentation has no types
const { ROWS } = (await import('../../docs/generate/rows.mjs')) as { ROWS: readonly Row[] }

/** What has no test yet. A row that gets one leaves this list. */
const GAPS: readonly string[] = []

test('what people know of qemu-kvm has a test that is there, or a gap that is known', () => {
  for (const { known, tests = [], gap } of ROWS) {
    expect(tests.length > 0 || gap !== undefined, `${known} has neither a test nor a gap`).toBe(true)
    for (const [file, title] of tests) {
      const text = readFileSync(resolve(ROOT, file), 'utf8').replaceAll(/\\(['"])/g, '$1')
      expect(text, `${known}: ${file} has no such test`).toContain(title)
    }
  }
  expect(ROWS.flatMap(({ gap }) => gap ?? [])).toEqual(GAPS)
})

test('each option that a row names is one', () => {
  const known = Object.keys(optionSchema.shape)
  for (const { options } of ROWS) for (const option of options) expect(known).toContain(option)
})
