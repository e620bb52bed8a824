import { execa } from 'execa'
import { describe, expect, vi } from 'vitest'
import { guestTest } from '../support/guest-test.js'
import { rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny', name: 'by-qmp', accel: 'tcg', cpus: 2 })

describe('a command', () => {
  test('tells of the machine, with types for those in common use', async ({ vm }) => {
    expect(await vm.qmp.execute('query-name')).toEqual({ name: 'by-qmp' })
    expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'running', running: true })
    expect((await vm.qmp.execute('query-kvm')).enabled).toBe(false)
    expect(vm.accelerator).toBe('tcg')
    expect(await vm.qmp.execute('query-cpus-fast')).toHaveLength(2)
    expect((await vm.qmp.execute('query-version')).qemu.major).toBe(vm.qmp.greeting.version.qemu.major)
    expect(await vm.qmp.execute('human-monitor-command', { 'command-line': 'info name' })).toBe('by-qmp\r\n')
  })

  test('of any other name is passed on as it is', async ({ vm }) => {
    const size = (await vm.qmp.execute('query-memory-size-summary')) as { 'base-memory': number }
    expect(size['base-memory']).toBe(256 * 1024 ** 2)
  })

  test('shows that the disk is a throwaway in front of a base that is only read', async ({ vm }) => {
    const [disk] = await vm.qmp.execute('query-block')
    expect(disk?.inserted?.file).toBe(`${vm.runFolder}/disk.qcow2`)
    const { stdout } = await execa('qemu-img', [
      'info',
      '--backing-chain',
      '-U',
      `${vm.runFolder}/disk.qcow2`,
    ])
    const chain = [...stdout.matchAll(/^image: (.*)$/gm)].map(([, path]) => path)
    // Between them lies what a template of this guest had written.
    expect([chain.at(0), chain.at(-1)]).toEqual([`${vm.runFolder}/disk.qcow2`, vm.baseDisk])
  })

  test('that QEMU does not know, or refuses, is an error with its words', async ({ vm }) => {
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

describe('an event', () => {
  test('comes to who waits for it, and to who listens', async ({ vm }) => {
    const seen: string[] = []
    const stop = vm.qmp.onAny(({ event }) => seen.push(event))
    const stopped = vm.qmp.waitForEvent('STOP')
    await vm.qmp.execute('stop')
    expect((await stopped).event).toBe('STOP')
    expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'paused', running: false })
    const resumed = vm.qmp.waitForEvent('RESUME')
    await vm.qmp.execute('cont')
    await resumed
    expect(seen).toEqual(['STOP', 'RESUME'])
    stop()
    expect((await vm.ssh`echo well`).stdout).toBe('well')
  })

  test('that does not come is an error in its time', async ({ vm }) => {
    const error = await rejection(vm.qmp.waitForEvent('BALLOON_CHANGE', { timeoutMs: 100 }))
    expect(error.message).toBe(
      'The QMP event BALLOON_CHANGE did not occur within 100 ms.\nFix: Start the wait before the command that causes the event.',
    )
  })

  test('tells of a reset, after which the guest can be waited for', async ({ vm }) => {
    const listener = vi.fn()
    vm.qmp.on('RESET', listener)
    await vm.qmp.execute('system_reset')
    await vi.waitFor(() => expect(listener).toHaveBeenCalled())
    expect(listener.mock.calls[0]?.[0].data).toMatchObject({ guest: false })
    await vm.waitUntilReady()
    expect((await vm.ssh`echo again`).stdout).toBe('again')
  })
})

test('a connection to a QEMU that ends fails what is pending', async ({ vm }) => {
  const { qmp } = vm
  const pending = rejection(qmp.waitForEvent('BALLOON_CHANGE'))
  await vm.powerCut()
  expect(await pending).toMatchObject({ code: 'QMP_FAILED' })
  expect(await rejection(qmp.execute('query-status'))).toMatchObject({ code: 'QMP_FAILED' })
  await vm.start()
  expect(await vm.qmp.execute('query-status')).toMatchObject({ status: 'running' })
})
