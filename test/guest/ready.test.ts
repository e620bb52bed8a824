import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { launchVM, type VM, type VMOptions, withVM } from 'withvm'
import { rejection } from '../support/messages.js'

const boot = <T>(options: VMOptions, body: (vm: VM) => T | Promise<T>) =>
  withVM({ image: 'tiny', log: () => {}, ...options }, body)

describe('ready', () => {
  test("ready: 'none' returns the guest at once, before its init starts", async () => {
    await boot({ ready: 'none', ssh: false }, async (vm) => {
      expect(vm.serial.text).not.toContain('withvm: init')
      await vm.serial.waitFor('withvm: init')
      expect((await vm.exec('echo by-agent')).stdout).toBe('by-agent')
    })
  })

  test('a pattern as `ready` waits for a match on the serial console', async () => {
    await boot({ start: 'cold', ready: /withvm: (init)/, ssh: false }, (vm) => {
      expect(vm.serial.text).toContain('withvm: init')
      expect(vm.timeline.at(-1)?.stage).toMatch(/^(init|ready)$/)
    })
  })

  test('a login on the serial console makes the guest ready, and leaves the shell open', async () => {
    await boot({ login: { user: 'root' }, ssh: false }, async (vm) => {
      const from = vm.serial.mark()
      await vm.serial.type('echo "it is $(id -un)"\n')
      await vm.serial.waitFor(/^it is root$/, { from })
    })
  })

  test('a function as `ready` is called with the guest', async () => {
    let calls = 0
    const options: VMOptions = {
      start: 'cold',
      ssh: false,
      ready: async (vm) => {
        calls++
        await vm.serial.waitFor('withvm: sshd')
        expect((await vm.exec('echo asked')).stdout).toBe('asked')
      },
    }
    await boot(options, () => expect(calls).toBe(1))
  })

  test('a function as `ready` that throws or rejects fails the start with its error', async () => {
    const now = () => {
      throw new Error('not today')
    }
    await expect(boot({ ready: now }, () => {})).rejects.toThrow(new Error('not today'))
    const later = async () => {
      await sleep(100)
      throw new Error('not tomorrow')
    }
    await expect(boot({ ready: later }, () => {})).rejects.toThrow(new Error('not tomorrow'))
  })

  test('a `ready` that is never met is reported in the error', async () => {
    const error = await rejection(
      boot({ ready: /never printed/, ssh: false, timeouts: { start: '5s' } }, () => {}),
    )
    expect(error).toMatchObject({ code: 'BOOT_TIMEOUT', kind: 'guest' })
    expect(error.message).toMatch(
      /^The guest 'tiny-[0-9a-f]{6}' was not ready after 5(\.\d)? s: it stayed in stage '\w+' for /,
    )
    expect(error.message).toContain('  Expected: /never printed/ on the serial console\n')
    expect(error.message).toMatch(
      /Fix: Check the condition `ready`, or set a longer `timeouts: \{ start: … \}`\.$/,
    )
  })
})

test('the guest sees its name, memory, CPUs, machine and kernel arguments', async () => {
  const options: VMOptions = {
    name: 'named.guest-1',
    memory: '384M',
    cpus: 2,
    machine: 'q35',
    append: ['demo.one=1', 'demo.two=a,b'],
  }
  await boot(options, async (vm) => {
    const { stdout } = await vm.ssh`hostname; nproc; cat /proc/cmdline; grep MemTotal /proc/meminfo`
    const [hostname, cpus, commandLine, memory] = stdout.split('\n')
    expect(hostname).toBe('named.guest-1')
    expect(cpus).toBe('2')
    expect(commandLine).toMatch(/^(tsc_early_khz=\d+ )?console=ttyS0 .* demo\.one=1 demo\.two=a,b$/)
    expect(Number(memory?.match(/\d+/)?.[0])).toBeGreaterThan(300 * 1024)
    expect(Number(memory?.match(/\d+/)?.[0])).toBeLessThan(384 * 1024)
    expect(vm.name).toBe('named.guest-1')
    expect(await vm.qmp.execute('query-name')).toEqual({ name: 'named.guest-1' })
    const machine = await vm.qmp.execute('qom-get', { path: '/machine', property: 'type' })
    expect(machine).toMatch(/q35/)
    expect(vm.commandLine).toContain('-machine q35,')
    await vm.shutdown()
  })
})

test('a body that exceeds `timeouts.body` rejects, and QEMU ends', async () => {
  let pid = 0
  const error = await rejection(
    boot({ ready: 'none', ssh: false, timeouts: { body: '500ms' } }, async (vm) => {
      pid = vm.pid
      await sleep(60_000, undefined, { ref: false })
    }),
  )
  expect(error).toMatchObject({ code: 'BODY_TIMEOUT', kind: 'usage' })
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

test('`await using` disposes of the guest at the end of its block', async () => {
  let pid: number
  {
    await using vm = await launchVM({ image: 'tiny', ssh: false, ready: 'none', log: () => {} })
    pid = vm.pid
    process.kill(pid, 0)
  }
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})
