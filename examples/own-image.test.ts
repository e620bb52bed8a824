import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../src/image/resolve-image.js'

test('a disk image of your own', async () => {
  const { disk, directBoot } = await resolveImage('tiny')
  const path = disk?.path as string
  const { kernel, initrd, append } = directBoot ?? {}
  // #region image
  await using vm = await launchVM({
    image: { path, format: 'qcow2' }, // or image: './build/system.qcow2'
    kernel, // these three where the disk has no boot loader
    initrd,
    append,
    memory: '512M',
    cpus: 2,
  })
  expect((await vm.ssh`nproc`).stdout).toBe('2')
  // #endregion
})
