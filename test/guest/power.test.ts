import { existsSync } from 'node:fs'
import { describe, expect } from 'vitest'
import type { VM } from 'withvm'
import { guestTest } from '../support/guest-test.js'
import { rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny' })

const readBootId = async (vm: VM) => (await vm.ssh`cat /proc/sys/kernel/random/boot_id`).stdout

/** Returns true if the journal of the root disk was replayed when it was mounted. */
const wasRecovered = async (vm: VM) => /EXT4-fs \(vda\): recovery complete/.test((await vm.ssh`dmesg`).stdout)

describe('reboot()', () => {
  test('reboot() restarts the guest with its disk, and resolves when it is ready', async ({ vm }) => {
    const before = { bootId: await readBootId(vm), pid: vm.pid, mark: vm.serial.mark() }
    await vm.ssh`echo kept >/root/kept; echo lost >/tmp/lost`
    await vm.reboot()
    expect(await readBootId(vm)).not.toBe(before.bootId)
    expect(vm.pid).toBe(before.pid)
    expect((await vm.ssh`cat /root/kept`).stdout).toBe('kept')
    expect((await vm.ssh('cat /tmp/lost', { reject: false })).exitCode).toBe(1)
    expect(vm.serial.since(before.mark)).toContain('reboot: Restarting system')
    expect(await wasRecovered(vm)).toBe(false)
    const stages = vm.timeline.map(({ stage }) => stage)
    expect(stages).toEqual([...new Set(stages)])
    expect(stages[0]).toBe('kernel')
    expect(stages.at(-1)).toBe('ready')
  })

  test('a reboot by the guest itself ends running commands, and can be waited for', async ({ vm }) => {
    const before = await readBootId(vm)
    const cut = rejection(vm.ssh`sleep 1000`)
    const reset = vm.qmp.waitForEvent('RESET')
    await vm.ssh('reboot', { reject: false }).catch(() => {})
    await reset
    expect(await cut).toMatchObject({ code: 'SSH_CLOSED' })
    await vm.waitUntilReady()
    expect(await readBootId(vm)).not.toBe(before)
    // Each stage of the new boot has its own time limit.
    expect(vm.timeline.map(({ stage }) => stage)).toEqual(['kernel', 'init', 'network', 'login', 'ready'])
  })
})

describe('shutdown()', () => {
  test('shutdown() powers the guest off cleanly: QEMU ends, and the disk needs no repair', async ({ vm }) => {
    const { pid } = vm
    const cut = rejection(vm.ssh`sleep 1000`)
    await vm.ssh`echo written-without-sync >/root/late`
    await vm.shutdown()
    expect(vm.isRunning).toBe(false)
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(['SSH_CLOSED', 'VM_NOT_RUNNING']).toContain(((await cut) as { code?: string }).code)
    expect(await vm.wait()).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
    await vm.start()
    expect(vm.pid).not.toBe(pid)
    expect((await vm.ssh`cat /root/late`).stdout).toBe('written-without-sync')
    expect(await wasRecovered(vm)).toBe(false)
  })

  test('every command of a guest that is off is rejected', async ({ vm }) => {
    await vm.shutdown()
    const commands = {
      ssh: () => vm.ssh`true`,
      exec: () => vm.exec('true'),
      upload: () => vm.upload('package.json', '/root/'),
      reboot: () => vm.reboot(),
      shutdown: () => vm.shutdown(),
      powerCut: () => vm.powerCut(),
      qmp: async () => vm.qmp.execute('query-status'),
    }
    for (const [name, command] of Object.entries(commands)) {
      const error = await rejection(command())
      expect(error, name).toMatchObject({ code: 'VM_NOT_RUNNING', kind: 'usage' })
      expect(error.message, name).toMatch(
        /^The guest is powered off\.\nFix: Power it on with `vm\.start\(\)`, unless it was disposed of\.$/,
      )
    }
    expect(await rejection(vm.serial.write('\n'))).toMatchObject({ code: 'VM_NOT_RUNNING' })
    await vm.start()
    expect((await vm.ssh`echo again`).stdout).toBe('again')
  })
})

describe('powerCut()', () => {
  test('powerCut() keeps flushed data, and loses other data', async ({ vm }) => {
    await vm.ssh`echo flushed >/root/flushed; sync; echo not >/root/not-flushed`
    const { pid } = vm
    const cut = rejection(vm.ssh`sleep 1000`)
    await vm.powerCut()
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(await cut).toMatchObject({ code: 'VM_NOT_RUNNING' })
    expect(await vm.wait()).toMatchObject({ reason: 'stopped' })
    const starting = vm.start()
    expect(await rejection(vm.start())).toMatchObject({ code: 'VM_RUNNING' })
    await starting
    expect((await vm.ssh`cat /root/flushed`).stdout).toBe('flushed')
    expect((await vm.ssh('cat /root/not-flushed', { reject: false })).stdout).toBe('')
    expect(await wasRecovered(vm)).toBe(true)
    expect(vm.serial.lines().filter((line) => /withvm: sshd/.test(line)).length).toBeGreaterThan(1)
  })
})

describe('power-offs by the guest', () => {
  test('a poweroff in the guest ends wait()', async ({ vm }) => {
    const over = vm.wait({ timeout: '60s' })
    await vm.ssh('poweroff', { reject: false }).catch(() => {})
    expect(await over).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
    expect(await rejection(vm.ssh`true`)).toMatchObject({ code: 'GUEST_STOPPED' })
    await vm.start()
    expect(await wasRecovered(vm)).toBe(false)
  })

  test('the power button (ACPI) shuts the guest down', async ({ vm }) => {
    // The power button works once acpid runs.
    await vm.ssh('until [ -e /run/acpid.pid ]; do sleep 0.1; done', { timeout: '30s' })
    await vm.qmp.execute('system_powerdown')
    expect(await vm.wait({ timeout: '30s' })).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
    await vm.start()
    expect(await wasRecovered(vm)).toBe(false)
  })
})

describe('misuse', () => {
  test('start() of a running guest is rejected, and the guest is not affected', async ({ vm }) => {
    const error = await rejection(vm.start())
    expect(error).toMatchObject({ code: 'VM_RUNNING', kind: 'usage' })
    expect(error.message).toBe(
      `The guest '${vm.id}' cannot be started: it is running.\nFix: Call \`vm.shutdown()\` or \`vm.powerCut()\` first, or use \`vm.reboot()\`.`,
    )
    expect((await vm.ssh`echo well`).stdout).toBe('well')
  })

  test('wait() for a running guest times out, or rejects when its signal aborts', async ({ vm }) => {
    const error = await rejection(vm.wait({ timeout: '300ms' }))
    expect(error.message).toBe(
      `The guest '${vm.id}' did not end within 300 ms.\nFix: Check the serial console for the reason, or end the guest at once with \`vm.powerCut()\`.`,
    )
    const signal = AbortSignal.timeout(100)
    expect((await rejection(vm.wait({ signal }))).name).toBe('TimeoutError')
    const invalid = rejection(vm.wait({ timeout: 'soon' as never }))
    expect(await invalid).toMatchObject({ code: 'INVALID_OPTIONS' })
  })

  test('a shutdown that times out reports the last lines of the console', async ({ vm }) => {
    await vm.ssh`printf '#!/bin/sh\necho not now >/dev/console\n' >/sbin/poweroff`
    const error = await rejection(vm.shutdown({ timeout: '5s' }))
    expect(error).toMatchObject({ code: 'STATE_TIMEOUT', kind: 'guest' })
    expect(error.message).toMatch(/^The guest 'tiny-[0-9a-f]{6}' did not shut down within 5 s\./)
    expect(error.message).toMatch(/\| .*not now$/m)
    expect(vm.isRunning).toBe(true)
  })
})
