import { execa } from 'execa'
import { describe, expect, vi } from 'vitest'
import { eventually } from '../support/eventually.js'
import { guestTest } from '../support/guest-test.js'
import { rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny', name: 'by-qmp', accel: 'tcg', cpus: 2 })

describe('vm.qmp.execute()', () => {
  test('QMP commands return the state of the machine, with types for common commands', async ({ vm }) => {
    expect(await vm.qmp.execute('query-name')).toEqual({ name: 'by-qmp' })
    expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'running', running: true })
    expect((await vm.qmp.execute('query-kvm')).enabled).toBe(false)
    expect(vm.accelerator).toBe('tcg')
    expect(await vm.qmp.execute('query-cpus-fast')).toHaveLength(2)
    expect((await vm.qmp.execute('query-version')).qemu.major).toBe(vm.qmp.greeting.version.qemu.major)
    expect(await vm.qmp.execute('human-monitor-command', { 'command-line': 'info name' })).toBe('by-qmp\r\n')
  })

  test('QMP commands without types are passed on unchanged', async ({ vm }) => {
    const size = (await vm.qmp.execute('query-memory-size-summary')) as { 'base-memory': number }
    expect(size['base-memory']).toBe(256 * 1024 ** 2)
  })

  test('the disk of a guest is an overlay whose backing chain ends at the base image', async ({ vm }) => {
    const [disk] = await vm.qmp.execute('query-block')
    expect(disk?.inserted?.file).toBe(`${vm.runFolder}/disk.qcow2`)
    const { stdout } = await execa('qemu-img', [
      'info',
      '--backing-chain',
      '-U',
      `${vm.runFolder}/disk.qcow2`,
    ])
    const chain = [...stdout.matchAll(/^image: (.*)$/gm)].map(([, path]) => path)
    // The overlay of a template can be in between.
    expect([chain.at(0), chain.at(-1)]).toEqual([`${vm.runFolder}/disk.qcow2`, vm.baseDisk])
  })

  test('an unknown or failed QMP command rejects with the error text of QEMU', async ({ vm }) => {
    expect((await rejection(vm.qmp.execute('make-coffee'))).message).toBe(
      [
        'The QMP command make-coffee failed.',
        '  Got:      CommandNotFound: The command make-coffee has not been found',
        'Fix: Use a command that this QEMU supports: `query-commands` lists them.',
      ].join('\n'),
    )
    const refused = await rejection(vm.qmp.execute('device_del', { id: 'absent' }))
    expect(refused).toMatchObject({ code: 'QMP_FAILED', kind: 'infrastructure' })
    expect(refused.message).toContain("DeviceNotFound: Device 'absent' not found")
  })
})

describe('QMP events', () => {
  test('a QMP event resolves its waits and is passed to listeners', async ({ vm }) => {
    const events: string[] = []
    const stop = vm.qmp.onAny(({ event }) => events.push(event))
    const stopped = vm.qmp.waitForEvent('STOP')
    await vm.qmp.execute('stop')
    expect((await stopped).event).toBe('STOP')
    expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'paused', running: false })
    const resumed = vm.qmp.waitForEvent('RESUME')
    await vm.qmp.execute('cont')
    await resumed
    expect(events).toEqual(['STOP', 'RESUME'])
    stop()
    expect((await vm.ssh`echo runs`).stdout).toBe('runs')
  })

  test('a wait for a QMP event that does not occur times out', async ({ vm }) => {
    const error = await rejection(vm.qmp.waitForEvent('BALLOON_CHANGE', { timeoutMs: 100 }))
    expect(error.message).toBe(
      'The QMP event BALLOON_CHANGE did not occur within 100 ms.\nFix: Start the wait before the command that causes the event.',
    )
  })

  test('a reset emits a QMP event, and vm.waitUntilReady() waits for the new boot', async ({ vm }) => {
    const listener = vi.fn()
    vm.qmp.on('RESET', listener)
    await vm.qmp.execute('system_reset')
    await eventually(() => expect(listener).toHaveBeenCalled())
    expect(listener.mock.calls[0]?.[0].data).toMatchObject({ guest: false })
    await vm.waitUntilReady()
    expect((await vm.ssh`echo again`).stdout).toBe('again')
  })
})

test('the end of QEMU rejects pending QMP waits and later commands', async ({ vm }) => {
  const { qmp } = vm
  const pending = rejection(qmp.waitForEvent('BALLOON_CHANGE'))
  await vm.powerCut()
  expect(await pending).toMatchObject({ code: 'QMP_FAILED' })
  expect(await rejection(qmp.execute('query-status'))).toMatchObject({ code: 'QMP_FAILED' })
  await vm.start()
  expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'running' })
})
