import { expect, test } from 'vitest'
import { launchVM, withVM } from 'withvm'
import { brokenGuest, print, sleepForever } from '../test/support/broken-guest.js'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

test('a guest is ready when its `ready` function resolves', async () => {
  // #region function
  await using vm = await launchVM({
    image: 'tiny',
    hostfwd: [{ guest: 80 }],
    ready: async (vm) => {
      await vm.serial.waitFor('withvm: sshd', { timeout: '1m' })
      await vm.ssh`httpd -h /etc`
      await expect.poll(() => fetch(vm.url(80, '/hostname'))).toMatchObject({ ok: true })
    },
  })
  // #endregion
  expect(await (await fetch(vm.url(80, '/hostname'))).text()).toBe('tiny\n')
})

test('a guest without SSH is ready when its guest agent answers', async () => {
  // #region agent
  await withVM({ image: 'tiny', ssh: false, ready: 'agent' }, async (vm) => {
    expect((await vm.exec('id -un')).stdout).toBe('root')
  })
  // #endregion
})

test('a custom kernel and initrd are ready when the console matches a pattern', async () => {
  const { kernel, initrd } = await brokenGuest(ownTmpdir(), [print('init: all is well'), sleepForever])
  // #region kernel
  await using vm = await launchVM({
    kernel, // a path such as 'arch/x86/boot/bzImage'
    initrd,
    append: 'console=ttyS0 panic=0',
    memory: '128M',
    ssh: false,
    ready: /^init: all is well/,
  })
  const { line } = await vm.serial.waitFor('Linux version')
  // #endregion
  expect(line).toMatch(/Linux version \d/)
})
