import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import type { VM } from 'withvm'
import { eventually } from '../support/eventually.js'
import { countProcesses } from '../support/guest-processes.js'
import { guestTest } from '../support/guest-test.js'
import { maskMessage, rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny' })

/** Waits until the guest has printed its last boot message and its shell is ready for input. */
async function prompt(vm: VM): Promise<void> {
  await vm.serial.waitFor(/^root@tiny:\S*# /)
  await vm.serial.waitFor(/withvm: network .*\n/)
}

describe('console log', () => {
  test('the console log starts with the first byte of the firmware and is identical to the log file', async ({
    vm,
  }) => {
    await prompt(vm)
    const path = join(vm.runFolder, 'serial.log')
    expect(vm.serial.logPath).toBe(path)
    await eventually(async () => expect(vm.serial.text).toBe(await readFile(path, 'utf8')))
    expect(vm.serial.lines()[0]).toMatch(/^SeaBIOS \(version /)
  })

  test('serial.lines() contains plain text, without escape sequences', async ({ vm }) => {
    const from = vm.serial.mark()
    await vm.ssh`printf '\\n\\033[1;31mred\\033[0m and\tplain\r\nprogress 1\rprogress 2\nend\n' >/dev/ttyS0`
    await vm.serial.waitFor(/^end$/, { from })
    expect(vm.serial.text).toContain('\u001b[1;31mred')
    expect(vm.serial.since(from)).toContain('red and\tplain\nprogress 1\nprogress 2\nend\n')
    expect(vm.serial.lines()).toContain('red and\tplain')
    expect(vm.serial.tail(1)).toEqual(['end'])
  })

  test('the console can be iterated line by line', async ({ vm }) => {
    await vm.ssh`echo 'following 1' >/dev/ttyS0`
    const lines: string[] = []
    const reading = (async () => {
      for await (const line of vm.serial) {
        if (/^following/.test(line)) lines.push(line)
        if (line === 'following 3') return
      }
    })()
    await vm.ssh`printf 'following 2\nfollowing 3\n' >/dev/ttyS0`
    await reading
    expect(lines).toEqual(['following 1', 'following 2', 'following 3'])
  })
})

describe('waitFor()', () => {
  test('waitFor() finds earlier output, and returns the groups of the match', async ({ vm }) => {
    await vm.ssh`echo 'unit demo.service: state 42' >/dev/ttyS0`
    const found = await vm.serial.waitFor(/unit (?<name>\S+): state (\d+)/)
    expect(found.line).toBe('unit demo.service: state 42')
    expect(found.match.groups?.name).toBe('demo.service')
    expect(found.match[2]).toBe('42')
    expect((await vm.serial.waitFor('demo.service')).text).toBe('demo.service')
  })

  test("waitFor() with from: 'now' ignores earlier output, and with a mark continues after a match", async ({
    vm,
  }) => {
    await vm.ssh`echo 'round 1' >/dev/ttyS0`
    const first = await vm.serial.waitFor(/round \d/)
    const next = vm.serial.waitFor(/round \d/, { from: 'now' })
    await vm.ssh`echo 'round 2' >/dev/ttyS0; echo 'round 3' >/dev/ttyS0`
    expect((await next).text).toBe('round 2')
    const second = await vm.serial.waitFor(/round \d/, { from: first.end })
    expect(second.text).toBe('round 2')
    expect((await vm.serial.waitFor(/round \d/, { from: second.end })).text).toBe('round 3')
  })

  test('waitFor() that times out reports the pattern and the last lines of the console', async ({ vm }) => {
    await prompt(vm)
    await vm.ssh`printf 'almost there\n' >/dev/ttyS0`
    await vm.serial.waitFor('almost there\n')
    const error = await rejection(vm.serial.waitFor(/never printed/, { timeout: '300ms' }))
    expect(error).toMatchObject({ code: 'SERIAL_TIMEOUT', kind: 'guest' })
    const message = maskMessage(error).replace(
      /(lines of the serial console:\n)( {2}\|.*\n)*(?= {2}\| almost)/,
      '$1',
    )
    expect(message).toMatchInlineSnapshot(`
      "The serial console did not show the pattern within TIME.
        Expected: /never printed/
        Got:      N characters, the last one TIME ago

      Last lines of the serial console:
        | almost there

      Fix: Compare the pattern with the last lines: the guest has stopped printing."
    `)
  })

  test('waitFor() rejects when its signal aborts', async ({ vm }) => {
    const error = await rejection(vm.serial.waitFor(/never/, { signal: AbortSignal.timeout(50) }))
    expect(error.name).toBe('TimeoutError')
  })

  test('waitFor() finds kernel messages if the log level of the guest includes them', async ({ vm }) => {
    await vm.ssh`dmesg -n 7`
    await vm.ssh`echo '<4>demo: a kernel message' >/dev/kmsg`
    const { line } = await vm.serial.waitFor(/demo: a kernel message/, { timeout: '5s' })
    expect(line).toMatch(/\[ *\d+\.\d{6}\] demo: a kernel message/)
  })
})

describe('write()', () => {
  test('login() returns at once if the console already has a shell of that user', async ({ vm }) => {
    expect(await vm.serial.login({ user: 'root' })).toEqual({ wasLoggedIn: true })
  })

  test('write() sends input to the shell on the console', async ({ vm }) => {
    await prompt(vm)
    await vm.serial.write('\n')
    const from = vm.serial.mark()
    await vm.serial.write('echo "typed $((6 * 7))"; tty; id -un\n')
    await vm.serial.waitFor(/^typed 42\n\/dev\/ttyS0\nroot\n/, { from })
  })

  test('write() sends control characters: Ctrl-C ends a program', async ({ vm }) => {
    const from = vm.serial.mark()
    await vm.serial.write('echo started; sleep 1000\n')
    await vm.serial.waitFor(/^started$/, { from })
    await eventually(async () => expect(await countProcesses(vm, 'sleep.1000')).toBe(1))
    await vm.serial.write('\u0003')
    await vm.serial.write('echo "ended by $?"\n')
    await vm.serial.waitFor(/^ended by 130$/, { from })
  })
})

test('a panic of the guest rejects a wait for the console at once', async ({ vm }) => {
  const waiting = rejection(vm.serial.waitFor(/never printed/, { timeout: '60s' }))
  const startedAt = performance.now()
  vm.ssh`echo c >/proc/sysrq-trigger`.catch(() => {})
  expect(await waiting).toMatchObject({ code: 'GUEST_PANICKED' })
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  const error = await rejection(vm.ssh`true`)
  expect(error).toMatchObject({ code: 'GUEST_PANICKED', kind: 'guest' })
  expect(error.message).toMatch(/Kernel panic - not syncing: sysrq triggered crash/)
  // A wait for earlier output still succeeds.
  await vm.serial.waitFor(/Kernel panic/)
})
