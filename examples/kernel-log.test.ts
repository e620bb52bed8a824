import { expect, test } from 'withvm/vitest'

test.override({ vmScope: 'file' })

// #region log
test('the driver reports a slow disk', async ({ vm }) => {
  await vm.ssh`echo '<3>demo: the disk is slow' >/dev/kmsg`

  await expect(vm.ssh`dmesg`).toPrint('demo: the disk is slow') // all messages
  await expect(vm.serial).toSee('demo: the disk is slow') // errors only: `tiny` boots with `quiet`
})
// #endregion

// #region module
test('the module is loaded', async ({ vm }) => {
  await vm.ssh`modprobe dummy`
  await expect(vm).toHaveKernelModule('dummy')
})
// #endregion
