import { expect, test } from 'vitest'
import { defineImage, launchVM } from 'withvm'

// #region define
const shop = defineImage({
  name: 'shop',
  from: 'tiny',
  files: {
    '/etc/motd': 'closed on Sundays\n',
    '/usr/local/bin/greet': { content: '#!/bin/sh\necho "hello $1"\n', mode: 0o755 },
  },
  run: ['mkdir -p /srv/shop && echo apples >/srv/shop/stock'],
  async prepare(vm) {
    await vm.ssh`greet build >/srv/shop/log`
  },
})
// #endregion

// #region layered
const openShop = defineImage({ name: 'open-shop', from: shop, files: { '/srv/shop/open': 'yes\n' } })
// #endregion

// #region own
const copied = defineImage({
  name: 'copied',
  // Values that the function uses and that are not in its source belong in `dependsOn`.
  dependsOn: { inputs: { size: '64M' } },
  async build({ dir, report, signal }) {
    const { execFile } = await import('node:child_process')
    const { promisify } = await import('node:util')
    report('creating an empty disk')
    await promisify(execFile)('qemu-img', ['create', '-f', 'qcow2', 'disk.qcow2', '64M'], {
      cwd: dir,
      signal,
    })
    return { disk: 'disk.qcow2', memory: '128M' }
  },
})
// #endregion

test('a guest boots from an image that is layered on another `defineImage()` image', async () => {
  // #region use
  await using vm = await launchVM({ image: openShop })
  expect((await vm.ssh`cat /srv/shop/stock /srv/shop/log /srv/shop/open`).stdout).toBe(
    'apples\nhello build\nyes',
  )
  // #endregion
})

test('the `build` function of a custom recipe creates the disk', async () => {
  await using vm = await launchVM({ image: copied, ready: 'none', ssh: false })
  expect(vm.baseDisk).toMatch(/copied-[0-9a-f]{16}\/disk\.qcow2$/)
})
