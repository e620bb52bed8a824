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

/** Uses a new cache with the images of the real one, so that the tests can set the facts about KVM. */
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

/** Probes KVM. Returns true if it runs a kernel on this host. */
async function kvmWorks(): Promise<boolean> {
  const qemu = await findQemu()
  const { name } = await chooseAccelerator({ accel: 'auto', qemu, cacheDir: realCache, notify: () => {} })
  return name === 'kvm'
}

/** Returns true if the device of KVM opens. If it does not, no guest tries KVM. */
async function kvmOpens(): Promise<boolean> {
  return (await findKvmObstacle({ cache: openHostCache(resolveCacheDir()) })) === undefined
}

async function recordWorkingKvm(): Promise<void> {
  const qemu = await findQemu()
  await openHostCache(resolveCacheDir()).write(factName(qemu), {
    kvm: { works: true, loopMs: 0.3 },
    tcgLoopMs: 3,
  })
}

test('the first guest selects the accelerator and reports TCG once; later guests use the same one', async () => {
  const logged: string[] = []
  const log = (line: string) => void logged.push(line)
  const options = { log, ready: 'none', ssh: false } as const
  await using first = await launchVM(options)
  const usesKvm = await kvmWorks()
  expect(first.accelerator).toBe(usesKvm ? 'kvm' : 'tcg')
  await using second = await launchVM(options)
  expect(second.accelerator).toBe(first.accelerator)
  const notices = logged.filter((line) => line.includes('run with TCG'))
  expect(notices).toHaveLength(usesKvm ? 0 : 1)
  for (const notice of notices)
    expect(notice).toMatch(/^guests run with TCG, which is much slower than KVM: .+\. Fix: .+/)
})

// With 'max', QEMU itself detects a broken KVM. With 'qemu64', QEMU starts and the guest fails.
test.each(['host', 'qemu64'])(
  'after a guest with the CPU %s fails under KVM, guests run under TCG, with a notice, and KVM is not retried',
  async (cpu) => {
    await recordWorkingKvm()
    const logged: string[] = []
    const log = (line: string) => void logged.push(line)
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
      expect(logged.join('\n')).toMatch(/^guests run with TCG, which is much slower than KVM: .+\. Fix: .+/)
      return
    }
    expect(logged.join('\n')).toMatch(
      /KVM failed while the guest was running .*the guest is started again with TCG/,
    )
    logged.length = 0
    await using next = await launchVM({ ...options, log, ready: 'none', ssh: false })
    expect(next.accelerator).toBe('tcg')
    expect(logged.join('\n')).not.toContain('KVM failed')
  },
)

test("accel: 'kvm' never falls back to TCG", async () => {
  if (await kvmWorks()) {
    await using vm = await launchVM({ accel: 'kvm', ready: 'none', ssh: false })
    expect(vm.accelerator).toBe('kvm')
    return
  }
  const error = await failureOf(launchVM({ accel: 'kvm' }))
  expect(error.code).toBe('ACCELERATOR_UNAVAILABLE')
  await recordWorkingKvm()
  const late = await failureOf(launchVM({ accel: 'kvm', cpu: 'qemu64' }))
  expect(late.code).toBe((await kvmOpens()) ? 'ACCELERATOR_FAILED' : 'ACCELERATOR_UNAVAILABLE')
})

test("accel: 'tcg' does not probe KVM", async () => {
  const logged: string[] = []
  await using vm = await launchVM({
    accel: 'tcg',
    ready: 'none',
    ssh: false,
    log: (line) => void logged.push(line),
  })
  expect(vm.accelerator).toBe('tcg')
  expect(logged).toEqual([])
})
