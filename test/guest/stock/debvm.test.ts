import { beforeAll, expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { debvmImage, LONG_MS } from '../../support/stock-images.js'

let debvm: Awaited<ReturnType<typeof debvmImage>>

beforeAll(async () => {
  debvm = await debvmImage()
}, LONG_MS)

test(
  'a .vdi of what debvm-create makes is reached as root by the credentials of systemd alone',
  async () => {
    const { vdi, kernel, initrd, append } = debvm
    await using vm = await launchVM({ image: vdi, kernel, initrd, append, log: () => {} })
    expect((await vm.ssh`id -un; command -v cloud-init || echo none`).stdout).toBe('root\nnone')
    expect(vm.startedFrom).toEqual({
      kind: 'cold',
      reason: 'nothing in this image can make each of its clones a machine of its own',
    })
    const error = await failureOf(vm.checkpoint('begun'))
    expect(error.hint).toContain('make a qcow2 of the image (`qemu-img convert -O qcow2`)')
  },
  LONG_MS,
)
