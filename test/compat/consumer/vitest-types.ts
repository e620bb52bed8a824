import { expect, test } from 'withvm/vitest'

test('the fixtures have types', async ({ vm, serial }) => {
  await expect(vm.ssh`true`).toSucceed()
  await expect(serial).toSee('login:', { timeout: '1s' })
  // @ts-expect-error a console is not a guest
  await expect(serial).toHaveFile('/a')
})
