import { describe, test as plainTest } from 'vitest'
import type { VM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { GuestPool } from '../../fixtures/guest-pool.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { rejection } from '../support/messages.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

test.override({ vmOptions: { image: 'tiny', memory: '192M' } })

const pids = new Map<string, number>()
const memoryMiB = async (vm: VM) =>
  Number((await vm.ssh`awk '/MemTotal/ {print $2}' /proc/meminfo`).stdout) / 1024

describe('vm', () => {
  test('the fixture `vm` starts a guest with the options of the file', async ({ vm }) => {
    expect(await memoryMiB(vm)).toBeLessThan(192)
    expect(await memoryMiB(vm)).toBeGreaterThan(128)
    await vm.ssh`touch /root/of-the-first-test`
    pids.set('first', vm.pid)
  })

  test('each test gets a new guest, and the guest of the previous test has ended', async ({
    vm,
    ssh,
    serial,
  }) => {
    expect(() => process.kill(pids.get('first') as number, 0)).toThrow('ESRCH')
    expect((await ssh`ls /root`).stdout).toBe('')
    expect(serial).toBe(vm.serial)
  })
})

describe('launch', () => {
  test('launch() boots more guests, with other options', async ({ launch }) => {
    const tmpdir = ownTmpdir()
    const [small, large] = await Promise.all([launch({ tmpdir }), launch({ tmpdir, memory: '256M' })])
    expect(await memoryMiB(large)).toBeGreaterThan(await memoryMiB(small))
  })

  test('a start that is pending at the end of the test is aborted', async ({ launch, onTestFinished }) => {
    const tmpdir = ownTmpdir()
    onTestFinished(() => expect(findLeftovers(tmpdir)).toEqual(NOTHING))
    const launching = launch({ tmpdir }).catch((error: unknown) => error)
    void launching
  })
})

describe('a guest with scope file that is restored after each test', () => {
  test.override({ vmScope: 'file' })
  let pid: number

  test('the first test changes the shared guest', async ({ vm }) => {
    pid = vm.pid
    await vm.ssh`touch /root/mine && echo mine >/tmp/mine && sync`
  })

  test('the next test gets the shared guest in its original state', async ({ vm }) => {
    expect(vm.pid).toBe(pid)
    expect((await vm.ssh`ls /root /tmp`).stdout).not.toContain('mine')
    vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
    await vm.serial.waitFor(/end Kernel panic/)
  })

  test('the shared guest is restored after a panic', async ({ vm }) => {
    expect(vm.pid).toBe(pid)
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
    await vm.qmp.execute('stop')
  })

  test('the shared guest is restored after a pause', async ({ vm }) => {
    expect(vm.pid).toBe(pid)
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
    await vm.powerCut()
  })

  test('a shared guest that was powered off is replaced by a new one', async ({ vm }) => {
    expect(vm.pid).not.toBe(pid)
    expect((await vm.ssh`ls /root`).stdout).toBe('')
  })
})

describe('a guest that cannot be restored', () => {
  const pool = new GuestPool()
  // QEMU cannot save the state of this controller.
  const options = {
    image: 'tiny',
    qemuArgs: ['-device', 'nvme,serial=1,drive=n', '-drive', 'if=none,id=n,driver=null-co'],
  }

  test('a guest that cannot be restored serves one test, and the next one fails with a hint', async ({
    onTestFinished,
  }) => {
    onTestFinished(() => pool[Symbol.asyncDispose]())
    const vm = await pool.share(options, true)
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
    await pool.release(vm)
    const error = await rejection(pool.share(options, true))
    expect(error).toMatchObject({ code: 'CHECKPOINT_FAILED' })
    expect(error.message).toContain(
      `The shared guest '${vm.id}' cannot be restored to its state before the first test.`,
    )
    expect(error.message).toContain('vmReset: false')
    expect(await pool.share(options, false)).toBe(vm)
  })
})

describe('a guest with scope file and `vmReset: false`', () => {
  test.override({ vmScope: 'file', vmReset: false, vmOptions: { name: 'kept' } })

  test('the first test that uses the fixture starts the shared guest', async ({ vm }) => {
    pids.set('shared', vm.pid)
    await vm.ssh`touch /root/kept`
  })

  test('the next test gets the same guest, with its changes', async ({ vm }) => {
    expect(vm.pid).toBe(pids.get('shared'))
    expect((await vm.ssh`ls /root`).stdout).toBe('kept')
  })

  describe.concurrent('concurrent tests', () => {
    test('a concurrent test gets the shared guest', async ({ vm, expect }) => {
      expect(vm.pid).toBe(pids.get('shared'))
    })
    test('another concurrent test gets the same guest', async ({ vm, expect }) => {
      expect(vm.pid).toBe(pids.get('shared'))
    })
  })

  test('launch() starts a guest of its own next to the shared one', async ({ launch, vm }) => {
    const other = await launch()
    expect(other.pid).not.toBe(vm.pid)
  })

  test('a test may power the shared guest off', async ({ vm }) => {
    await vm.powerCut()
  })

  test('a shared guest that was powered off is booted again for the next test', async ({ vm }) => {
    expect(vm.pid).not.toBe(pids.get('shared'))
    expect((await vm.ssh`ls /root`).stdout).toBe('')
  })

  test('a test may cause a panic of the shared guest', async ({ vm }) => {
    pids.set('shared', vm.pid)
    vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
    await vm.serial.waitFor(/end Kernel panic/)
  })

  test('a shared guest that panicked is booted again for the next test', async ({ vm }) => {
    expect(vm.pid).not.toBe(pids.get('shared'))
    pids.set('shared', vm.pid)
    await vm.qmp.execute('stop')
  })

  test('a shared guest that was left paused is booted again for the next test', async ({ vm }) => {
    expect(vm.pid).not.toBe(pids.get('shared'))
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
  })
})

describe('retries', () => {
  let tries = 0
  test('each retry gets a new guest', { retry: 1 }, async ({ vm }) => {
    tries++
    expect((await vm.ssh`ls /root`).stdout).toBe('')
    await vm.ssh`touch /root/of-the-first-try`
    expect(tries).toBe(2)
  })

  test('each repeat gets a new guest', { repeats: 1 }, async ({ vm }) => {
    expect((await vm.ssh`ls /root`).stdout).toBe('')
    await vm.ssh`touch /root/of-the-first-run`
  })
})

describe('retries of a failed start', () => {
  test.override({
    vmOptions: async ({ task }, use) => use({ image: task.result?.retryCount === 1 ? 'tiny' : 'absent' }),
  })

  test('a retry after a failed start gets a guest', { retry: 1 }, async ({ vm, serial, ssh }) => {
    expect(serial).toBe(vm.serial)
    expect((await ssh`echo started`).stdout).toBe('started')
  })

  test.fails('a test whose guest failed to start fails even if it does not use the guest', {
    retry: { count: 1, condition: () => false },
  }, ({ vm: _ }) => {})
})

test.for(['one', 'two'])('tests of test.for get guests too: %s', async (word, { vm }) => {
  expect((await vm.ssh`echo ${word}`).stdout).toBe(word)
})

plainTest('the default timeout of a test is long enough for a failed start to be reported', ({ task }) => {
  expect(task.timeout).toBe(240_000)
})

describe('timeout of a test', () => {
  test.override({ vmScope: 'file' })

  test('a wait without a timeout ends before its test times out, with its own error', {
    timeout: 8000,
  }, async ({ vm }) => {
    const error = await rejection(expect(vm.serial).toSee('never printed'))
    expect(error.message).toContain("expect(vm.serial).toSee('never printed') failed after")
  })

  test('a start ends before its test times out, with its own error', { timeout: 20_000 }, async ({
    launch,
  }) => {
    const error = await rejection(launch({ ready: /never printed/ }))
    expect(error).toMatchObject({ code: 'BOOT_TIMEOUT' })
    expect(error.message).toMatch(
      /^The guest was not ready after 1\d(\.\d)? s, shortly before its test times out\./,
    )
    expect(error.message).toContain('Serial console, last lines:')
    expect(error.message).toContain('Set a test timeout above 20 s')
  })
})
