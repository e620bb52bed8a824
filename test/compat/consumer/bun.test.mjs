import { expect, test } from 'bun:test'
import { EXPECTED, smoke } from './smoke.mjs'

test('`withVM()` runs in Bun', async () => {
  expect(await smoke()).toEqual(EXPECTED)
}, 300_000)
