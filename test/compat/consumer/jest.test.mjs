import { expect, jest, test } from '@jest/globals'
import { EXPECTED, smoke } from './smoke.mjs'

jest.setTimeout(300_000)

test('`withVM()` runs in Jest', async () => {
  expect(await smoke()).toEqual(EXPECTED)
})
