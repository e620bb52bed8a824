import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VMOptions } from 'withvm'
import { ARCHITECTURES, type GuestArch } from '../../../src/spec/architectures.js'
import type { DiskOptions } from '../../../src/spec/options/disks.js'
import { installArchitecturePackages } from '../../support/guest-packages.js'

beforeAll(installArchitecturePackages, 600_000)

const ARCHS = Object.keys(ARCHITECTURES) as GuestArch[]

/** Returns one disk per supported interface, a CD drive and, if supported, virtio devices. QEMU accepts them together. */
function allDevices(arch: GuestArch): VMOptions {
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

test.each(ARCHS)('QEMU accepts all devices that withvm supports on %s', async (arch) => {
  await using vm = await launchVM({
    arch,
    image: false,
    ssh: false,
    debug: { paused: true },
    log: () => {},
    ...allDevices(arch),
  })
  const { status } = await vm.qmp.execute('query-status')
  expect(status).toBe('prelaunch')
})
