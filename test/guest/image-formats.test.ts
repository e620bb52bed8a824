import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../../src/image/resolve-image.js'
import { makeOva, qemuImg } from '../support/disk-images.js'
import { ownCache } from '../support/own-cache.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

/** Functions that convert the disk of `tiny` to formats of other hypervisors. */
const MAKERS: Readonly<Record<string, (disk: string, dir: string) => string>> = {
  vdi: (disk, dir) => convert(disk, join(dir, 'disk.vdi'), 'vdi'),
  vmdk: (disk, dir) => convert(disk, join(dir, 'disk.vmdk'), 'vmdk'),
  ova: (disk, dir) =>
    makeOva([convert(disk, join(dir, 'machine-disk001.vmdk'), 'vmdk', 'subformat=streamOptimized')]),
}

function convert(disk: string, path: string, format: string, ...options: string[]): string {
  const extra = options.flatMap((option) => ['-o', option])
  qemuImg('convert', '-f', 'qcow2', '-O', format, ...extra, disk, path)
  return path
}

test.each(Object.keys(MAKERS))('a .%s image boots', async (kind) => {
  const { disk, directBoot } = await resolveImage('tiny')
  const { kernel, initrd, append } = directBoot ?? {}
  const dir = ownTmpdir()
  const image = MAKERS[kind]?.(disk?.path as string, dir) as string
  ownCache()
  await using vm = await launchVM({ image, kernel, initrd, append, start: 'cold', log: () => {} })
  expect((await vm.ssh`cat /etc/os-release`).stdout).toContain('ID=withvm-tiny')
  await vm.ssh`echo written > /root/file && sync`
})
