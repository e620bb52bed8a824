import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { eventually } from '../support/eventually.js'
import { countProcesses } from '../support/guest-processes.js'
import { guestTest } from '../support/guest-test.js'
import { maskMessage, rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny', ssh: false, ready: 'agent', name: 'by-agent' })

describe('a guest that is reached only through its agent', () => {
  test('vm.exec() returns a result of the same shape as vm.ssh', async ({ vm }) => {
    const result = await vm.exec('echo out; echo err >&2')
    expect(result).toEqual({
      command: 'echo out; echo err >&2',
      stdout: 'out',
      stderr: 'err',
      exitCode: 0,
      signal: undefined,
      durationMs: expect.any(Number),
    })
  })

  test('vm.exec() needs no network in the guest', async ({ vm }) => {
    await vm.exec('ifconfig eth0 down')
    expect((await vm.exec('cat /sys/class/net/eth0/operstate')).stdout).toBe('down')
    await vm.exec('ifconfig eth0 up')
  })

  test('a guest without SSH has its name as its host name', async ({ vm }) => {
    expect((await vm.exec('hostname')).stdout).toBe('by-agent')
  })

  test('vm.ssh rejects with `ssh: false` as the reason', async ({ vm }) => {
    const error = await rejection(vm.ssh`true`)
    expect(error.message).toBe(
      'SSH is disabled: the guest was started with `ssh: false`.\nFix: Remove `ssh: false`, or use `vm.exec()` (guest agent) or `vm.serial`.',
    )
    expect(vm.sshCommandLine).toBe(undefined)
  })

  test('vm.exec() rejects with stdout and stderr when a command fails', async ({ vm }) => {
    const error = await rejection(vm.exec('echo half; echo why >&2; exit 9'))
    expect(error).toMatchObject({ code: 'COMMAND_FAILED', exitCode: 9, stdout: 'half', stderr: 'why' })
    expect(maskMessage(error)).toMatchInlineSnapshot(`
      "The command \`echo half; echo why >&2; exit 9\` failed after TIME.
        Expected: exit code 0
        Got:      exit code 9

      stdout:
        | half

      stderr:
        | why

      Fix: Check the output of the command. Use \`reject: false\` if the command may fail."
    `)
    expect(await vm.exec('exit 9', { reject: false })).toMatchObject({ exitCode: 9, signal: undefined })
  })

  test('vm.exec() reports the signal that ended a command', async ({ vm }) => {
    expect(await vm.exec('kill -TERM $$', { reject: false })).toMatchObject({
      exitCode: undefined,
      signal: 'SIGTERM',
    })
  })

  test('vm.exec() passes stdin and environment variables to the command', async ({ vm }) => {
    const input = randomBytes(100_000)
    const result = await vm.exec('echo "$WORDS" >&2; cat', {
      stdin: input,
      env: { WORDS: `it's "so"` },
      encoding: 'buffer',
    })
    expect(result.stdout.equals(input)).toBe(true)
    expect(result.stderr.toString()).toBe(`it's "so"\n`)
    expect((await vm.exec('cat; echo end')).stdout).toBe('end')
  })

  test('vm.exec() ends a command that times out, together with its child processes', async ({ vm }) => {
    const running = rejection(vm.exec('sleep 4242; echo over', { timeout: '1s' }))
    expect(await countProcesses(vm, '4242')).toBe(2)
    const error = await running
    expect(error).toMatchObject({ code: 'COMMAND_TIMEOUT', kind: 'command' })
    expect(error.message).toBe(
      'The command `sleep 4242; echo over` did not end within 1 s.\nFix: Raise `timeout`, or check the output above for the reason.',
    )
    await eventually(async () => expect(await countProcesses(vm, '4242')).toBe(0))
  })

  test('vm.exec() runs several commands at the same time', async ({ vm }) => {
    const numbers = [1, 2, 3, 4, 5, 6]
    const startedAt = performance.now()
    const results = await Promise.all(numbers.map((number) => vm.exec(`sleep 1; echo ${number}`)))
    expect(results.map(({ stdout }) => Number(stdout))).toEqual(numbers)
    expect(performance.now() - startedAt).toBeLessThan(4000)
  })

  test('a guest without SSH can be rebooted, shut down and started again', async ({ vm }) => {
    await vm.exec('echo kept >/root/kept; sync')
    await vm.reboot()
    expect((await vm.exec('cat /root/kept')).stdout).toBe('kept')
    await vm.shutdown()
    expect(await vm.wait()).toEqual({ reason: 'guest-shutdown', exitCode: 0 })
    await vm.start()
    expect((await vm.exec('cat /root/kept; dmesg | grep -c recovery.complete || true')).stdout).toBe(
      'kept\n0',
    )
  })

  test('vm.waitUntilReady() waits for the agent after the guest reset itself', async ({ vm }) => {
    const reset = vm.qmp.waitForEvent('RESET')
    await vm.exec(
      'echo 1 >/proc/sys/kernel/sysrq; (sleep 0.3; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &',
    )
    await reset
    await vm.waitUntilReady()
    expect((await vm.exec('cat /root/kept')).stdout).toBe('kept')
  })

  test('vm.exec() rejects with AGENT_UNAVAILABLE when the agent has ended', async ({ vm }) => {
    await vm.exec('(sleep 0.3; killall qemu-ga) >/dev/null 2>&1 &')
    await sleep(1500)
    const error = await rejection(vm.exec('true'))
    expect(error).toMatchObject({ code: 'AGENT_UNAVAILABLE', kind: 'guest' })
    expect(maskMessage(error)).toMatchInlineSnapshot(`
      "The guest agent does not respond.
        Got:      no response to guest-exec within TIME
      Fix: Check that the guest has booted and runs qemu-guest-agent, which stock cloud images do not contain."
    `)
  })
})
