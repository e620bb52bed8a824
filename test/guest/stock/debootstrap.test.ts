import { beforeAll, expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { debootstrapTarball, LONG_MS } from '../../support/stock-images.js'

const isRoot = process.geteuid?.() === 0
if (!isRoot) process.stderr.write('skipped: only root can run debootstrap\n')

let tarball: string

beforeAll(async () => {
  if (isRoot) tarball = await debootstrapTarball()
}, LONG_MS)

test.skipIf(!isRoot)(
  'a root file system of debootstrap is reachable over SSH with the kernel of tiny',
  async () => {
    await using vm = await launchVM({ image: tarball, log: () => {} })
    expect((await vm.ssh`id -un; cat /proc/1/comm`).stdout).toBe('root\nsystemd')
  },
)
