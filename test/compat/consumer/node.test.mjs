import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EXPECTED, smoke } from './smoke.mjs'

test('`withVM()` runs in the test runner of Node.js', { timeout: 300_000 }, async () => {
  assert.deepEqual(await smoke(), EXPECTED)
})
