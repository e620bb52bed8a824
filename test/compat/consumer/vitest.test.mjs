import { expect, test } from 'withvm/vitest'
import { EXPECTED, smoke } from './smoke.mjs'

test('`withVM()` runs in Vitest', { timeout: 300_000 }, async () => {
  expect(await smoke()).toEqual(EXPECTED)
})

test('the fixture `vm` and the matchers work', { timeout: 300_000 }, async ({ vm }) => {
  await expect(vm.ssh`uname`).toPrint('Linux')
  await expect(vm).toHaveFile('/etc/passwd')
  await expect(vm).not.toHavePanicked()
})
