import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// #region shared
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { CommandError, launchVM, type VM } from 'withvm'

let vm: VM

beforeAll(async () => {
  vm = await launchVM({ image: 'tiny', hostfwd: [{ guest: 80 }] })
})

afterAll(() => vm?.dispose())
// #endregion

test('the arguments of a `vm.ssh` template are quoted', async () => {
  // #region commands
  const path = '/tmp/a file'
  await vm.ssh`echo hello > ${path}`
  const { stdout, exitCode, durationMs } = await vm.ssh`cat ${path}`
  // #endregion
  expect(stdout).toBe('hello')
  expect(exitCode).toBe(0)
  expect(durationMs).toBeGreaterThan(0)
  // #region arrays
  await vm.ssh`rm -f ${['/tmp/a file', '/tmp/another']}`
  // #endregion
})

test('`vm.ssh()` takes stdin, environment variables and streams as options', async () => {
  const output: string[] = []
  // #region options
  const result = await vm.ssh('tr a-z A-Z; echo $PLACE; exit 3', {
    stdin: 'from the host\n',
    env: { PLACE: 'guest' },
    timeout: '30s',
    reject: false,
    stdout: (text) => void output.push(text),
  })
  expect(result).toMatchObject({ stdout: 'FROM THE HOST\nguest', exitCode: 3 })
  // #endregion
  expect(output.join('')).toBe('FROM THE HOST\nguest\n')
})

test('a failed command rejects with a `CommandError`', async () => {
  // #region failing
  const error = await vm.ssh`cat /no/such/file`.catch((error: unknown) => error)
  expect(error).toBeInstanceOf(CommandError)
  expect(error).toMatchObject({ code: 'COMMAND_FAILED', exitCode: 1 })
  // #endregion
  const message = (error as Error).message.replace(/after [\d.]+ m?s/, 'after 31 ms')
  await expect(`${message}\n`).toMatchFileSnapshot('output/command-failed.txt')
})

test('files are uploaded to and downloaded from the guest', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'example-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const config = join(folder, 'demo.conf')
  writeFileSync(config, 'color = blue\n')
  // #region files
  await vm.upload(config, '/etc/demo.conf')
  await vm.ssh`sed -i s/blue/green/ /etc/demo.conf`
  await vm.download('/etc/demo.conf', config)
  expect(readFileSync(config, 'utf8')).toBe('color = green\n')
  // #endregion
})

test('text is written to and read from the serial console', async () => {
  // #region serial
  const mark = vm.serial.mark()
  await vm.serial.write('echo answer=$((6 * 7))\n')
  const { match } = await vm.serial.waitFor(/^answer=(\d+)\n/, { from: mark, timeout: '1m' })
  expect(match[1]).toBe('42')
  expect(vm.serial.lines()).toContain('answer=42')
  // #endregion
})

test('the guest agent runs commands without a network', async () => {
  // #region agent
  const { stdout } = await vm.exec('hostname')
  expect(stdout).toBe('tiny')
  // #endregion
})

test('a server in the guest is reached through a forwarded port', async () => {
  // #region ports
  await vm.ssh`mkdir -p /srv && echo from the guest > /srv/index.html && httpd -h /srv`
  const response = await fetch(vm.url(80, '/index.html'))
  expect(await response.text()).toBe('from the guest\n')
  // #endregion
})

test('`vm.qmp` executes QMP commands and waits for events', async () => {
  // #region qmp
  const { status } = await vm.qmp.execute('query-status')
  expect(status).toBe('running')
  const stopped = vm.qmp.waitForEvent('STOP')
  await vm.qmp.execute('stop')
  await stopped
  await vm.qmp.execute('cont')
  // #endregion
  expect((await vm.ssh`echo resumed`).stdout).toBe('resumed')
})
