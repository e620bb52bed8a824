import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished, vi } from 'vitest'
import { checks, launchVM, withVM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { generateSshKeyPair } from '../../src/channel/ssh/keys.js'
import { rejection } from '../support/messages.js'

function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'artifacts-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test('a body that fails saves the logs of its guest, and the error contains their path', async () => {
  const artifacts = ownFolder()
  const run = withVM({ image: 'tiny', artifacts, log: () => {} }, async (vm) => {
    await vm.ssh`echo to the console >/dev/ttyS0; echo fine`
    await vm.ssh`echo failed here >&2; exit 3`
  })
  const error = await rejection(run)
  const [name = ''] = readdirSync(artifacts)
  const folder = join(artifacts, name)
  expect(error.message).toContain(`Logs:\n  | ${folder}\n`)
  expect(error).toMatchObject({ code: 'COMMAND_FAILED', exitCode: 3 })
  expect(readdirSync(folder).sort()).toEqual(
    [
      'command-line.txt',
      'commands.log',
      'dmesg.txt',
      'guest.txt',
      'qemu.log',
      'qmp.log',
      'serial.log',
    ].sort(),
  )
  const read = (file: string) => readFileSync(join(folder, file), 'utf8')
  expect(
    read('commands.log')
      .replace(/^ *\d+\.\d{3}/gm, '   TIME')
      .replace(/\d+ m?s$/gm, 'TIME'),
  ).toBe(
    [
      '   TIME $ echo to the console >/dev/ttyS0; echo fine',
      '   TIME fine',
      '          exit code 0 after TIME',
      '   TIME $ echo failed here >&2; exit 3',
      '   TIME failed here',
      '          exit code 3 after TIME',
      '',
    ].join('\n'),
  )
  expect(read('serial.log')).toContain('to the console')
  expect(read('qmp.log')).toMatch(/^ +\d+\.\d{3} <- \{"QMP": (.|\n)*-> \{"execute":"qmp_capabilities"/)
  expect(read('dmesg.txt')).toContain('Linux version')
  expect(read('guest.txt')).toMatch(/^tiny-[0-9a-f]{6}: ready, .*\nstages: qemu .*, ready .*\naccelerator: /)
  expect(read('command-line.txt')).toMatch(/^qemu-system|^\S+qemu/)
})

test('commands.log has one line for the commands of a wait, a check or a retried command', async () => {
  const artifacts = ownFolder()
  await using vm = await launchVM({ image: 'tiny' })
  await vm.ssh`echo first >/tmp/state`
  const invariant = await vm.always('init runs', checks.processRuns(/init/))
  await vm.waitFor.command('echo again >>/tmp/state; wc -l </tmp/state', { prints: '4' })
  await expect(() => vm.ssh`test -d /tmp`).toEventuallySucceed()
  await vm.waitFor.check(async ({ ssh }) => (await ssh`echo first; echo second`).stdout !== '')
  await rejection(vm.waitFor.unit('demo'))
  invariant.stop()
  await vm.ssh`echo end`
  const text = readFileSync(join(await vm.saveLogs(artifacts), 'commands.log'), 'utf8')
  const masked = text
    .replace(/^ *\d+\.\d{3}/gm, 'TIME')
    .replace(/\d+(\.\d)? m?s\b/gm, 'TIME')
    .replace(/(?<=runs': |active: )\d+ commands/g, 'N commands')
  expect(masked).toMatchInlineSnapshot(`
    "TIME $ echo first >/tmp/state
    TIME exit code 0 after TIME
    TIME # invariant 'init runs': N commands in TIME, last: 1 /usr/bin/busybox init
    TIME # wait for \`echo again >>/tmp/state; wc -l </tmp/state\` to print "4": 3 commands in TIME, last: "4"
    TIME # expect(command).toEventuallySucceed(): 1 command in TIME, last \`test -d /tmp\`: exit code 0
    TIME # wait for the check to be met: 1 command in TIME, last \`echo first; echo second\`: true
    TIME # wait for the unit demo to be active: N commands in TIME, last: /bin/sh: systemctl: not found
    TIME $ echo end
    TIME end
              exit code 0 after TIME
    "
  `)
})

test('an error that is not from withvm is rethrown unchanged, and the folder is logged', async () => {
  const artifacts = ownFolder()
  const lines: string[] = []
  const mine = new Error('mine')
  const run = withVM({ image: 'tiny', artifacts, log: (line) => lines.push(line) }, () =>
    Promise.reject(mine),
  )
  expect(await rejection(run)).toBe(mine)
  const [name = ''] = readdirSync(artifacts)
  expect(lines.at(-1)).toBe(`logs of the guest '${name}', whose test failed: ${join(artifacts, name)}`)
})

test('nothing is saved of a guest whose body succeeded', async () => {
  const artifacts = ownFolder()
  await withVM({ image: 'tiny', artifacts, log: () => {} }, (vm) => vm.ssh`true`)
  expect(readdirSync(artifacts)).toEqual([])
})

test('nothing is saved with `artifacts: false`, even if WITHVM_ARTIFACTS is set', async () => {
  const artifacts = ownFolder()
  vi.stubEnv('WITHVM_ARTIFACTS', artifacts)
  onTestFinished(() => void vi.unstubAllEnvs())
  const run = withVM({ image: 'tiny', artifacts: false, log: () => {} }, (vm) => vm.ssh`exit 3`)
  expect(await rejection(run)).toMatchObject({ exitCode: 3 })
  expect(readdirSync(artifacts)).toEqual([])
})

test('saveLogs() saves a screenshot of a guest with a display within 2 s, even after a panic', async () => {
  const artifacts = ownFolder()
  await using vm = await launchVM({ image: 'tiny', qemuArgs: ['-device', 'VGA'] })
  vm.ssh`echo c >/proc/sysrq-trigger`.catch(() => {})
  await vm.serial.waitFor(/Kernel panic/)
  const startedAt = performance.now()
  const folder = await vm.saveLogs(artifacts)
  expect(performance.now() - startedAt).toBeLessThan(2000)
  expect(readdirSync(folder)).toContain('serial.log')
  expect(readdirSync(folder)).not.toContain('dmesg.txt')
  const png = readFileSync(join(folder, 'screenshot.png'))
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  expect(png.readUInt32BE(16)).toBe(720)
  expect(readFileSync(join(folder, 'serial.log'), 'utf8')).toContain('sysrq triggered crash')
})

test('saveLogs() uses the agent of a guest whose SSH server has ended', async () => {
  const artifacts = ownFolder()
  await using vm = await launchVM({ image: 'tiny' })
  await vm.exec('killall dropbear')
  await vm.exec(`printf '#!/bin/sh\necho "the journal by $*"' >/bin/journalctl; chmod +x /bin/journalctl`)
  await sleep(200)
  const folder = await vm.saveLogs(artifacts)
  expect(readFileSync(join(folder, 'dmesg.txt'), 'utf8')).toContain('Linux version')
  expect(readFileSync(join(folder, 'journal.txt'), 'utf8')).toContain('the journal by --boot --no-pager')
})

test('with `memoryDump`, the memory of the guest is saved as a core file', async () => {
  const artifacts = ownFolder()
  const options = { image: 'tiny', memory: '192M', artifacts, memoryDump: true, log: () => {} } as const
  await rejection(withVM(options, (vm) => vm.ssh`exit 3`))
  const core = join(artifacts, readdirSync(artifacts)[0] ?? '', 'memory.elf')
  expect(readFileSync(core).subarray(0, 4).toString('latin1')).toBe('\x7fELF')
  expect(statSync(core).size).toBeGreaterThan(192 * 1024 ** 2)
  expect(statSync(core).mode & 0o777).toBe(0o600)
})

test('saved logs contain neither keys nor passwords', async () => {
  const artifacts = ownFolder()
  const { privateKey } = generateSshKeyPair()
  const ssh = { privateKey, password: 'open sesame' } as const
  await using vm = await launchVM({ image: 'tiny', ssh, ready: 'agent' })
  await vm.exec(`echo 'open sesame' >/dev/ttyS0; echo '${privateKey}' >/dev/ttyS0; echo open sesame`)
  const folder = await vm.saveLogs(artifacts)
  const kept = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'))
  const all = kept.join('\n')
  expect(all).not.toContain('open sesame')
  for (const line of privateKey.split('\n').slice(1, -2)) expect(all).not.toContain(line)
  expect(readFileSync(join(folder, 'serial.log'), 'utf8')).toContain('(redacted)\r\n')
})

test('saveLogs() of a disposed guest saves its console', async () => {
  const artifacts = ownFolder()
  const vm = await launchVM({ image: 'tiny' })
  await vm.dispose()
  const folder = await vm.saveLogs(artifacts)
  expect(readFileSync(join(folder, 'serial.log'), 'utf8')).toContain('withvm: sshd')
})
