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
  test('is a guest of the options of the file', async ({ vm }) => {
    expect(await memoryMiB(vm)).toBeLessThan(192)
    expect(await memoryMiB(vm)).toBeGreaterThan(128)
    await vm.ssh`touch /root/of-the-first-test`
    pids.set('first', vm.pid)
  })

  test('is fresh for each test, and gone behind it', async ({ vm, ssh, serial }) => {
    expect(() => process.kill(pids.get('first') as number, 0)).toThrow('ESRCH')
    expect((await ssh`ls /root`).stdout).toBe('')
    expect(serial).toBe(vm.serial)
  })
})

describe('launch', () => {
  test('boots more guests, with options of their own', async ({ launch }) => {
    const tmpdir = ownTmpdir()
    const [small, large] = await Promise.all([launch({ tmpdir }), launch({ tmpdir, memory: '256M' })])
    expect(await memoryMiB(large)).toBeGreaterThan(await memoryMiB(small))
  })

  test('stops what still starts when the test ends', async ({ launch, onTestFinished }) => {
    const tmpdir = ownTmpdir()
    onTestFinished(() => expect(findLeftovers(tmpdir)).toEqual(NOTHING))
    const launching = launch({ tmpdir }).catch((error: unknown) => error)
    void launching
  })
})

describe('a guest of scope file that is put back', () => {
  test.override({ vmScope: 'file' })
  let pid: number

  test('is what the first test makes of it', async ({ vm }) => {
    pid = vm.pid
    await vm.ssh`touch /root/mine && echo mine >/tmp/mine && sync`
  })

  test('and for the next what it was at first', async ({ vm }) => {
    expect(vm.pid).toBe(pid)
    expect((await vm.ssh`ls /root /tmp`).stdout).not.toContain('mine')
    vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
    await vm.serial.waitFor(/end Kernel panic/)
  })

  test('also behind a test in which it panicked', async ({ vm }) => {
    expect(vm.pid).toBe(pid)
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
    await vm.qmp.execute('stop')
  })

  test('or stood still', async ({ vm }) => {
    expect(vm.pid).toBe(pid)
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
    await vm.powerCut()
  })

  test('and a new one where it was switched off', async ({ vm }) => {
    expect(vm.pid).not.toBe(pid)
    expect((await vm.ssh`ls /root`).stdout).toBe('')
  })
})

describe('a guest that cannot be put back', () => {
  const pool = new GuestPool()
  // Its state can not be saved, as QEMU says of this controller.
  const options = {
    image: 'tiny',
    qemuArgs: ['-device', 'nvme,serial=1,drive=n', '-drive', 'if=none,id=n,driver=null-co'],
  }

  test('does for one test, and fails the next with what to do', async ({ onTestFinished }) => {
    onTestFinished(() => pool[Symbol.asyncDispose]())
    const vm = await pool.share(options, true)
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
    await pool.release(vm)
    const error = await rejection(pool.share(options, true))
    expect(error).toMatchObject({ code: 'CHECKPOINT_FAILED' })
    expect(error.message).toContain(
      "The shared guest 'tiny' cannot be restored to its state before the first test.",
    )
    expect(error.message).toContain('vmReset: false')
    expect(await pool.share(options, false)).toBe(vm)
  })
})

describe('a guest of scope file that is not put back', () => {
  test.override({ vmScope: 'file', vmReset: false, vmOptions: { name: 'kept' } })

  test('is made by the first test that asks for it', async ({ vm }) => {
    pids.set('shared', vm.pid)
    await vm.ssh`touch /root/kept`
  })

  test('is the same in the next', async ({ vm }) => {
    expect(vm.pid).toBe(pids.get('shared'))
    expect((await vm.ssh`ls /root`).stdout).toBe('kept')
  })

  describe.concurrent('that tests use at the same time', () => {
    test('is one', async ({ vm, expect }) => {
      expect(vm.pid).toBe(pids.get('shared'))
    })
    test('and the same', async ({ vm, expect }) => {
      expect(vm.pid).toBe(pids.get('shared'))
    })
  })

  test('is not shared with a test that wants another', async ({ launch, vm }) => {
    const other = await launch()
    expect(other.pid).not.toBe(vm.pid)
  })

  test('may be lost by a test', async ({ vm }) => {
    await vm.powerCut()
  })

  test('is then booted again for the next', async ({ vm }) => {
    expect(vm.pid).not.toBe(pids.get('shared'))
    expect((await vm.ssh`ls /root`).stdout).toBe('')
  })

  test('that panics is booted again too', async ({ vm }) => {
    pids.set('shared', vm.pid)
    vm.ssh`echo c > /proc/sysrq-trigger`.catch(() => {})
    await vm.serial.waitFor(/end Kernel panic/)
  })

  test('as is one that a test left paused', async ({ vm }) => {
    expect(vm.pid).not.toBe(pids.get('shared'))
    pids.set('shared', vm.pid)
    await vm.qmp.execute('stop')
  })

  test('so that each test begins with a guest that runs', async ({ vm }) => {
    expect(vm.pid).not.toBe(pids.get('shared'))
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
  })
})

describe('retries', () => {
  let tries = 0
  test('have a new guest each', { retry: 1 }, async ({ vm }) => {
    tries++
    expect((await vm.ssh`ls /root`).stdout).toBe('')
    await vm.ssh`touch /root/of-the-first-try`
    expect(tries).toBe(2)
  })

  test('as have repeats', { repeats: 1 }, async ({ vm }) => {
    expect((await vm.ssh`ls /root`).stdout).toBe('')
    await vm.ssh`touch /root/of-the-first-run`
  })
})

test.for(['one', 'two'])('a table of tests has guests too: %s', async (word, { vm }) => {
  expect((await vm.ssh`echo ${word}`).stdout).toBe(word)
})

plainTest('a test has the time that a guest needs to say what is wrong', ({ task }) => {
  expect(task.timeout).toBe(240_000)
})

describe('the time of a test', () => {
  test.override({ vmScope: 'file' })

  test('ends a wait before it ends the test, so that the wait can say why', { timeout: 8000 }, async ({
    vm,
  }) => {
    const error = await rejection(expect(vm.serial).toSee('never printed'))
    expect(error.message).toContain("expect(vm.serial).toSee('never printed') failed after")
  })

  test('ends a start before it ends the test', { timeout: 20_000 }, async ({ launch }) => {
    const error = await rejection(launch({ ready: /never printed/ }))
    expect(error).toMatchObject({ code: 'BOOT_TIMEOUT' })
    expect(error.message).toMatch(
      /^The guest was not ready after 1\d(\.\d)? s, shortly before its test times out\./,
    )
    expect(error.message).toContain('Serial console, last lines:')
    expect(error.message).toContain('Set a test timeout above 20 s')
  })
})
