import { beforeAll, expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { debvmImage, LONG_MS } from '../../support/stock-images.js'

let debvm: Awaited<ReturnType<typeof debvmImage>>

beforeAll(async () => {
  debvm = await debvmImage()
}, LONG_MS)

test(
  'a .vdi image of debvm-create accepts the login of root only through systemd credentials',
  async () => {
    const { vdi, kernel, initrd, append } = debvm
    await using vm = await launchVM({ image: vdi, kernel, initrd, append, log: () => {} })
    expect((await vm.ssh`id -un; command -v cloud-init || echo none`).stdout).toBe('root\nnone')
    expect(vm.startedFrom).toEqual({
      kind: 'cold',
      reason: 'QEMU cannot save guests with images of this format',
    })
    const error = await failureOf(vm.checkpoint('first'))
    expect(error.hint).toContain('Convert the image to qcow2 (`qemu-img convert -O qcow2`)')
  },
  LONG_MS,
)
