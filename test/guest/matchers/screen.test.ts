import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test('toShow', async ({ vm }) => {
  await expect(vm.serial).toSee('withvm: network')
  await vm.ssh`(sleep 0.3; printf '\\033[2J\\033[3;5HMenu: \\033[1mdisk\\033[0m') >/dev/ttyS0 2>&1 &`
  await expect(vm.serial).toShow('    Menu: disk')
  await expect(vm.serial).toShow(/^ +Menu/)
  expect(
    await matcherMessage(expect(vm.serial).toShow('Menu: network', { timeout: 300 })),
  ).toMatchInlineSnapshot(`
    "expect(vm.serial).toShow('Menu: network', { timeout: 300 }) failed after TIME

      Expected: 'Menu: network' on the screen
      Received: the screen below

    Screen, 80 x 24:
      |
      |
      |     Menu: disk"
  `)
  expect(await matcherMessage(expect(vm.serial).not.toShow(/Menu/, { timeout: 300 }))).toMatchInlineSnapshot(`
    "expect(vm.serial).not.toShow(/Menu/, { timeout: 300 }) failed after TIME

      Expected: no /Menu/ on the screen
      Received: 'Menu'

    Screen, 80 x 24:
      |
      |
      |     Menu: disk"
  `)
  await vm.ssh`(sleep 0.3; printf '\\033[2J') >/dev/ttyS0 2>&1 &`
  await expect(vm.serial).not.toShow('Menu')

  const startedAt = performance.now()
  const message = matcherMessage(expect(vm.serial).toShow('never', { timeout: '2m' }))
  vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
  expect((await message).split('\n', 1)[0]).toMatchInlineSnapshot(
    `"expect(vm.serial).toShow('never', { timeout: '2m' }) failed at once, after TIME: the guest is lost"`,
  )
  expect(performance.now() - startedAt).toBeLessThan(20_000)
})
