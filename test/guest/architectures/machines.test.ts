import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VMOptions } from 'withvm'
import { ARCHITECTURES, type GuestArch } from '../../../src/spec/architectures.js'
import type { DiskOptions } from '../../../src/spec/options/disks.js'
import { installArchitecturePackages } from '../../support/guest-packages.js'

beforeAll(installArchitecturePackages, 600_000)

const ARCHS = Object.keys(ARCHITECTURES) as GuestArch[]

/** One disk at each place where the machine can have one, a CD drive, and what virtio has: QEMU takes them all together. */
function everything(arch: GuestArch): VMOptions {
  const { disks, virtio, cd } = ARCHITECTURES[arch]
  const added = disks.filter((kind) => !['pflash', 'floppy', 'sd'].includes(kind))
  return {
    disks: [
      ...added.map((kind): DiskOptions => ({ size: '1M', interface: kind })),
      { media: 'cdrom', interface: cd, index: 3 },
    ],
    ...(virtio === undefined
      ? {}
      : { rng: true, balloon: true, network: [{}, {}], ports: [{ name: 'one' }] }),
  }
}

test.each(ARCHS)('QEMU takes all that a machine for %s may have', async (arch) => {
  await using vm = await launchVM({
    arch,
    image: false,
    ssh: false,
    debug: { paused: true },
    log: () => {},
    ...everything(arch),
  })
  const { status } = await vm.qmp.execute('query-status')
  expect(status).toBe('prelaunch')
})
