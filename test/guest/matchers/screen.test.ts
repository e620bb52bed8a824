import { expect, test } from 'withvm/vitest'
import { matcherMessage } from '../../support/matcher-messages.js'

test.override({ vmScope: 'file' })

test('toShow waits for the expected text', async ({ vm }) => {
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
})

test('toMatchScreen compares the masked screen with its snapshot, and rejects .not', async ({ vm }) => {
  await vm.ssh`printf '\\033[2J\\033[2;2HMemory: 512 MiB\\r\\n Time:   12:30:01' >/dev/ttyS0`
  await expect(vm.serial).toShow('Time:')
  await expect(vm.serial).toMatchScreen({ mask: [/\d+ MiB/] })
  expect(await matcherMessage(expect(vm.serial).not.toMatchScreen())).toMatchInlineSnapshot(`
    "expect(vm.serial).toMatchScreen() was used incorrectly.
      Expected: a call in a test, without \`.not\`
      Got:      .not
    Fix: Call it in a test without \`.not\`: it compares with the snapshot of an earlier run of the same test."
  `)
})

test('an OOM kill ends a wait for the screen', async ({ vm }) => {
  const waiting = matcherMessage(expect(vm.serial).toShow('never', { timeout: '2m' }))
  await expect(vm.ssh('tail /dev/zero', { reject: false })).toFailWith('SIGKILL')
  expect((await waiting).split('\n', 1)[0]).toMatchInlineSnapshot(
    `"expect(vm.serial).toShow('never', { timeout: '2m' }) failed at once, after TIME: the guest reported a failure"`,
  )
})

test('a panic ends all screen matchers at once', async ({ vm }) => {
  const startedAt = performance.now()
  const message = matcherMessage(expect(vm.serial).toShow('never', { timeout: '2m' }))
  vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
  expect((await message).split('\n', 1)[0]).toMatchInlineSnapshot(
    `"expect(vm.serial).toShow('never', { timeout: '2m' }) failed at once, after TIME: the guest is lost"`,
  )
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  const ofSnapshot = await matcherMessage(expect(vm.serial).toMatchScreen({ timeout: '2m' }))
  expect(ofSnapshot.split('\n', 1)[0]).toMatchInlineSnapshot(
    `"expect(vm.serial).toMatchScreen({ timeout: '2m' }) failed at once, after TIME: the guest is lost"`,
  )
})
