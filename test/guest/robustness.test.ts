import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchVM, type VM, withVM } from 'withvm'
import { buildCli } from '../support/built-cli.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

// One test runs a program that imports the built package.
beforeAll(buildCli)

/** Makes the guest ignore requests to reboot or power off. */
const disablePowerCommands = (vm: VM) =>
  vm.ssh`cd /sbin && for name in poweroff reboot; do rm -f $name; printf '#!/bin/sh\n' >$name; chmod +x $name; done; sync`

/** Far shorter than the time limits of a reboot and a shutdown under TCG, which are minutes. */
const AT_ONCE_MS = 5000

test('vm.reboot() and vm.shutdown() reject at once when QEMU is killed', async () => {
  await using vm = await launchVM()
  await disablePowerCommands(vm)
  for (const change of ['reboot', 'shutdown'] as const) {
    const startedAt = performance.now()
    const changing = failureOf(vm[change]())
    await sleep(300)
    process.kill(vm.pid, 'SIGKILL')
    const error = await changing
    expect(error.code, change).toBe('QEMU_DIED')
    expect(error.evidence.map(({ label }) => label)).toContain('Serial console, last lines')
    expect(performance.now() - startedAt, change).toBeLessThan(AT_ONCE_MS)
    await vm.start()
  }
})

test('vm.shutdown() rejects at once when the guest panics, and so do later calls', async () => {
  await using vm = await launchVM()
  await disablePowerCommands(vm)
  await vm.ssh`(sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &`
  const startedAt = performance.now()
  expect((await failureOf(vm.shutdown())).code).toBe('GUEST_PANICKED')
  expect((await failureOf(vm.shutdown())).code).toBe('GUEST_PANICKED')
  expect((await failureOf(vm.reboot())).code).toBe('GUEST_PANICKED')
  expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS)
})

test('dispose() during vm.start() leaves nothing behind', async () => {
  const tmpdir = ownTmpdir()
  for (const delayMs of [0, 5, 20, 40, 60]) {
    const vm = await launchVM({ tmpdir, ready: 'none' })
    await vm.powerCut()
    const starting = vm.start().catch((error: unknown) => error)
    await sleep(delayMs)
    await vm.dispose()
    expect(findLeftovers(tmpdir), `after ${delayMs} ms`).toEqual(NOTHING)
    const error = await starting
    if (error !== undefined) expect(error).toMatchObject({ code: 'VM_NOT_RUNNING' })
  }
})

test('dispose() during vm.reboot() rejects the reboot', async () => {
  const vm = await launchVM()
  const rebooting = failureOf(vm.reboot())
  await sleep(50)
  await vm.dispose()
  expect((await rebooting).code).toBe('VM_NOT_RUNNING')
})

test('a reset of the guest rejects the running commands of its agent', async () => {
  await using vm = await launchVM()
  const running = failureOf(vm.exec('sleep 1000'))
  await vm.exec('true')
  await vm.qmp.execute('system_reset')
  const error = await running
  expect(error.code).toBe('AGENT_UNAVAILABLE')
  expect(error.message).toContain('The guest was reset while its agent ran a command.')
})

test('a command that is aborted while its connection opens does not affect other commands of that connection', async () => {
  await using vm = await launchVM()
  const other = { user: 'toor' }
  await vm.ssh`echo 'toor::0:0:root:/root:/bin/sh' >>/etc/passwd`
  const reason = new Error('enough')
  const controller = new AbortController()
  const first = vm.ssh('echo first', { ...other, signal: controller.signal }).catch((error: unknown) => error)
  const second = vm.ssh('echo second', other)
  await sleep(5)
  controller.abort(reason)
  expect(await first).toBe(reason)
  expect((await second).stdout).toBe('second')
})

test('logs that cannot be saved are reported, and the failed guest is still removed', async () => {
  const tmpdir = ownTmpdir()
  const never = { ready: () => new Promise(() => {}), timeouts: { start: '300ms' } } as const
  const error = await failureOf(launchVM({ tmpdir, artifacts: '/dev/null/logs', ...never }))
  expect(error.code).toBe('BOOT_TIMEOUT')
  expect(error.message).toMatch(/Logs:\n {2}\| \(they could not be saved to \/dev\/null\/logs: ENOTDIR/)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a timeout above the maximum of a Node.js timer never expires', async () => {
  const timeouts = { start: '1000h', body: '1000h', command: '1000h' } as const
  const ready = () => sleep(50)
  expect(await withVM({ timeouts, ready }, () => sleep(50, 'done'))).toBe('done')
})

test('an AbortSignal shared by many guests causes no MaxListeners warning', async () => {
  const tmpdir = ownTmpdir()
  const warnings: Error[] = []
  const onWarning = (warning: Error) => void warnings.push(warning)
  process.on('warning', onWarning)
  onTestFinished(() => void process.off('warning', onWarning))
  const { signal } = new AbortController()
  const launch = () => launchVM({ tmpdir, signal, ready: 'none', memory: 64, hostfwd: [{ guest: 80 }] })
  const vms = await Promise.all(Array.from({ length: 8 }, launch))
  const ports = vms.flatMap((vm) => [vm.hostPort(22), vm.hostPort(80)])
  expect(new Set(ports).size).toBe(16)
  await Promise.all(vms.map((vm) => vm.dispose()))
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  expect(warnings).toEqual([])
})

test('a program ends as soon as its last guest is removed', async () => {
  const { stdout } = await runScript(
    ownTmpdir(),
    `await withVM({ ready: 'none' }, () => {})
    const removedAt = performance.now()
    process.on('exit', () => console.log(performance.now() - removedAt))`,
  )
  expect(Number(stdout)).toBeGreaterThan(0)
  expect(Number(stdout)).toBeLessThan(100)
})
