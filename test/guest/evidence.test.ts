import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { withVM } from 'withvm'
import { rejection } from '../support/messages.js'

function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'artifacts-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test('a body that fails leaves the logs of its guest, and says where', async () => {
  const artifacts = ownFolder()
  const run = withVM({ image: 'tiny', artifacts, log: () => {} }, async (vm) => {
    await vm.ssh`echo to the console >/dev/ttyS0; echo fine`
    await vm.ssh`echo gone wrong >&2; exit 3`
  })
  const error = await rejection(run)
  const [name = ''] = readdirSync(artifacts)
  const folder = join(artifacts, name)
  expect(error.message).toContain(`Logs:\n  | ${folder}\n`)
  expect(error).toMatchObject({ code: 'COMMAND_FAILED', exitCode: 3 })
  expect(readdirSync(folder).sort()).toEqual(
    ['command-line.txt', 'commands.log', 'dmesg.txt', 'qemu.log', 'qmp.log', 'serial.log'].sort(),
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
      '   TIME $ echo gone wrong >&2; exit 3',
      '   TIME gone wrong',
      '          exit code 3 after TIME',
      '',
    ].join('\n'),
  )
  expect(read('serial.log')).toContain('to the console')
  expect(read('qmp.log')).toMatch(/^ +\d+\.\d{3} <- \{"QMP": (.|\n)*-> \{"execute":"qmp_capabilities"/)
  expect(read('dmesg.txt')).toContain('Linux version')
  expect(read('command-line.txt')).toMatch(/^qemu-system|^\S+qemu/)
})

test('the error of another is given as it is, and the folder is told on the log', async () => {
  const artifacts = ownFolder()
  const lines: string[] = []
  const mine = new Error('mine')
  const run = withVM({ image: 'tiny', artifacts, log: (line) => lines.push(line) }, () =>
    Promise.reject(mine),
  )
  expect(await rejection(run)).toBe(mine)
  expect(lines.at(-1)).toBe(
    `the logs of the guest 'tiny', whose body failed: ${join(artifacts, readdirSync(artifacts)[0] ?? '')}`,
  )
})

test('nothing is kept of a guest whose body did not fail', async () => {
  const artifacts = ownFolder()
  await withVM({ image: 'tiny', artifacts, log: () => {} }, (vm) => vm.ssh`true`)
  expect(readdirSync(artifacts)).toEqual([])
})
