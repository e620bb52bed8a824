import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../src/image/resolve-image.js'

test('a guest boots from a custom disk image with a kernel of its own', async () => {
  const { disk, directBoot } = await resolveImage('tiny')
  const path = disk?.path as string
  const { kernel, initrd, append } = directBoot ?? {}
  // #region image
  await using vm = await launchVM({
    image: { path, format: 'qcow2' }, // or image: './build/system.qcow2'
    kernel, // `kernel`, `initrd` and `append`: only for a disk without a boot loader
    initrd,
    append,
    memory: '512M',
    cpus: 2,
  })
  expect((await vm.ssh`nproc`).stdout).toBe('2')
  // #endregion
})
