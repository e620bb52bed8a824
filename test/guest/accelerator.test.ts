import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { openHostCache } from '../../src/host/host-cache.js'
import { chooseAccelerator } from '../../src/host/kvm/accelerator.js'
import { factName } from '../../src/host/kvm/accelerator-facts.js'
import { findKvmObstacle } from '../../src/host/kvm/kvm-device.js'
import { findQemu } from '../../src/host/qemu-binary.js'
import { failureOf } from '../support/failure-of.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const realCache = resolveCacheDir()
const before = process.env.WITHVM_CACHE

/** A cache of the test's own with the images of the real one, so that what is remembered of KVM can be made up. */
beforeEach(() => {
  const cache = ownTmpdir()
  mkdirSync(join(realCache, 'images'), { recursive: true })
  symlinkSync(join(realCache, 'images'), join(cache, 'images'))
  process.env.WITHVM_CACHE = cache
})
afterEach(() => {
  if (before === undefined) delete process.env.WITHVM_CACHE
  else process.env.WITHVM_CACHE = before
})

/** Whether a kernel gets through under KVM on this host, by a probe of its own. */
async function kvmWorks(): Promise<boolean> {
  const qemu = await findQemu()
  const { name } = await chooseAccelerator({ accel: 'auto', qemu, cacheDir: realCache, notify: () => {} })
  return name === 'kvm'
}

/** Whether there is a KVM that could be believed in: where its device does not open, nobody tries. */
async function kvmOpens(): Promise<boolean> {
  return (await findKvmObstacle({ cache: openHostCache(resolveCacheDir()) })) === undefined
}

async function believeInKvm(): Promise<void> {
  const qemu = await findQemu()
  await openHostCache(resolveCacheDir()).write(factName(qemu), {
    kvm: { works: true, loopMs: 0.3 },
    tcgLoopMs: 3,
  })
}

test('the first guest decides on the accelerator and says so once; the next ones remember', async () => {
  const said: string[] = []
  const log = (line: string) => void said.push(line)
  const options = { log, ready: 'none', ssh: false } as const
  await using first = await launchVM(options)
  const usesKvm = await kvmWorks()
  expect(first.accelerator).toBe(usesKvm ? 'kvm' : 'tcg')
  await using second = await launchVM(options)
  expect(second.accelerator).toBe(first.accelerator)
  const notices = said.filter((line) => line.includes('run with TCG'))
  expect(notices).toHaveLength(usesKvm ? 0 : 1)
  for (const notice of notices)
    expect(notice).toMatch(/^guests run with TCG, which is much slower than KVM: .+\. Fix: .+/)
})

// With 'max' QEMU itself gives up on a broken KVM; with 'qemu64' it starts, and the guest meets the fault.
test.each(['host', 'qemu64'])(
  'a KVM that fails a guest with the CPU %s is left for TCG, loudly, and not tried again',
  async (cpu) => {
    await believeInKvm()
    const said: string[] = []
    const log = (line: string) => void said.push(line)
    const accelerated = await kvmWorks()
    const options = accelerated || cpu === 'qemu64' ? { cpu } : {}
    await using vm = await launchVM({ ...options, log })
    expect((await vm.ssh`uname -s`).stdout).toBe('Linux')
    if (accelerated) {
      expect(vm.accelerator).toBe('kvm')
      return
    }
    expect(vm.accelerator).toBe('tcg')
    if (!(await kvmOpens())) {
      expect(said.join('\n')).toMatch(/^guests run with TCG, which is much slower than KVM: .+\. Fix: .+/)
      return
    }
    expect(said.join('\n')).toMatch(
      /KVM failed while the guest was running .*the guest is started again with TCG/,
    )
    said.length = 0
    await using next = await launchVM({ ...options, log, ready: 'none', ssh: false })
    expect(next.accelerator).toBe('tcg')
    expect(said.join('\n')).not.toContain('KVM failed')
  },
)

test("accel: 'kvm' never falls back", async () => {
  if (await kvmWorks()) {
    await using vm = await launchVM({ accel: 'kvm', ready: 'none', ssh: false })
    expect(vm.accelerator).toBe('kvm')
    return
  }
  const error = await failureOf(launchVM({ accel: 'kvm' }))
  expect(error.code).toBe('ACCELERATOR_UNAVAILABLE')
  await believeInKvm()
  const late = await failureOf(launchVM({ accel: 'kvm', cpu: 'qemu64' }))
  expect(late.code).toBe((await kvmOpens()) ? 'ACCELERATOR_FAILED' : 'ACCELERATOR_UNAVAILABLE')
})

test("accel: 'tcg' does not look at KVM", async () => {
  const said: string[] = []
  await using vm = await launchVM({
    accel: 'tcg',
    ready: 'none',
    ssh: false,
    log: (line) => void said.push(line),
  })
  expect(vm.accelerator).toBe('tcg')
  expect(said).toEqual([])
})
