import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { exitCodeOf, formatError } from '../../../src/cli/exit-code.js'
import { vmError } from '../../../src/errors.js'
import type { HostReport } from '../../../src/host/setup/inspect.js'
import { buildCli, runCli } from '../../support/built-cli.js'
import { makePath, makeTemporaryDir, writeProgram } from '../host/fake-program.js'

beforeAll(buildCli, 120_000)

test('`withvm --version` prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  expect(await runCli(['--version'])).toMatchObject({ stdout: version, exitCode: 0 })
})

test('`withvm --help` lists the commands and the exit codes', async () => {
  const { stdout, exitCode } = await runCli(['--help'])
  expect(exitCode).toBe(0)
  expect(stdout).toMatch(/^ {2}setup \[options\]/m)
  expect(stdout).toMatch(/^ {2}doctor \[options\]/m)
  expect(stdout).toContain('69 problem of this host')
})

test.each([
  [['dcotor'], "error: unknown command 'dcotor'\n(Did you mean doctor?)"],
  [['doctor', '--jsn'], "error: unknown option '--jsn'\n(Did you mean --json?)"],
])('the invalid command line %j exits with 2 and suggests a name', async (args, message) => {
  expect(await runCli(args)).toMatchObject({ stderr: message, stdout: '', exitCode: 2 })
})

test('`withvm` without a command prints the help and exits with 2', async () => {
  const { stderr, exitCode } = await runCli([])
  expect(exitCode).toBe(2)
  expect(stderr).toContain('Usage: withvm')
})

test('`withvm setup` on a host with all programs installs no packages', async () => {
  const { stdout, exitCode } = await runCli(['setup'])
  expect(stdout).toMatch(/^withvm: all \d+ required programs are installed\.$/)
  expect(exitCode).toBe(0)
})

test('`withvm setup --check` without the programs exits with 1 and prints the install command', async () => {
  const dir = makeTemporaryDir()
  const PATH = makePath(dir, {})
  const { stderr, stdout, exitCode } = await runCli(['setup', '--check'], { PATH, WITHVM_CACHE: dir })
  expect(exitCode).toBe(1)
  expect(stdout).toBe('')
  expect(stderr).toMatch(/^withvm: \d+ required programs are not installed: qemu-system-x86_64, qemu-img/)
  expect(stderr).toMatch(/^Fix: /m)
  expect(stderr).not.toContain('    at ')
})

test('`withvm doctor` prints a row for each check and exits with 0 where guests can run', async () => {
  const { stdout, exitCode } = await runCli(['doctor'])
  expect(exitCode).toBe(0)
  for (const label of ['QEMU', 'Accelerator', 'KVM', 'Network', 'qemu-img', 'Memory', 'Cache']) {
    expect(stdout).toMatch(new RegExp(`^(ok|note) +${label} +\\S`, 'm'))
  }
  expect(stdout).toMatch(/\n\nGuests can run here\.$/)
})

test('`withvm doctor --json` prints a stable shape', async () => {
  const { stdout, exitCode } = await runCli(['doctor', '--json', '--fresh'], {
    WITHVM_CACHE: makeTemporaryDir(),
  })
  const report: HostReport = JSON.parse(stdout)
  expect(exitCode).toBe(0)
  expect(report).toMatchObject({ schema: 1, canRunGuests: true })
  expect(Object.keys(report.facts)).toEqual([
    'qemuPath',
    'qemuVersion',
    'accelerator',
    'timeFactor',
    'processors',
    'memoryBytes',
    'freeMemoryBytes',
    'temporaryDir',
    'freeTemporaryBytes',
    'cacheDir',
    'freeCacheBytes',
    'cacheBytes',
  ])
  for (const check of report.checks) {
    expect(Object.keys(check).sort()).toEqual(['fix', 'found', 'id', 'label', 'state'])
    expect(check.fix === null).toBe(check.state === 'ok')
  }
  const ids = report.checks.map(({ id }) => id)
  expect(ids).toEqual(
    expect.arrayContaining(['qemu', 'accelerator', 'kvm', 'network', 'memory', 'temporary']),
  )
})

test('`withvm doctor` without QEMU reports the problem and exits with 69', async () => {
  const dir = makeTemporaryDir()
  const { stdout, exitCode } = await runCli(['doctor'], { PATH: makePath(dir, {}), WITHVM_CACHE: dir })
  expect(exitCode).toBe(69)
  expect(stdout).toMatch(/^PROBLEM {2}QEMU +No QEMU for x86_64 guests was found: none of these programs in /m)
  expect(stdout).toMatch(/^PROBLEM {2}qemu-img +not installed; creates and inspects disk images$/m)
  expect(stdout).toMatch(/\n\nGuests cannot run here\.$/)
})

test('`withvm doctor` continues after a QEMU that is too old', async () => {
  const dir = makeTemporaryDir()
  const WITHVM_QEMU = writeProgram(join(dir, 'old-qemu'), 'echo "QEMU emulator version 5.2.0"')
  const { stdout, exitCode } = await runCli(['doctor', '--json'], { WITHVM_QEMU, WITHVM_CACHE: dir })
  const report: HostReport = JSON.parse(stdout)
  expect(exitCode).toBe(69)
  expect(report.checks[0]).toEqual({
    id: 'qemu',
    label: 'QEMU',
    state: 'problem',
    found: `${WITHVM_QEMU} is too old: withvm requires QEMU 7.2: QEMU 5.2.0`,
    fix: 'Install a newer QEMU, or specify one with the option `qemu` or with WITHVM_QEMU=/path/to/qemu-system-x86_64.',
  })
  expect(report.facts.qemuPath).toBeNull()
})

test('a VMError is printed without a stack unless --verbose is given', async () => {
  const dir = makeTemporaryDir()
  writeFileSync(join(dir, 'nothing'), '')
  const env = { WITHVM_QEMU: join(dir, 'nothing'), WITHVM_CACHE: dir }
  const brief = await runCli(['setup'], env)
  expect(brief.exitCode).toBe(69)
  expect(brief.stderr).toMatch(/^withvm: WITHVM_QEMU is set to .*nothing, which is not an executable program/)
  expect(brief.stderr).not.toContain('\n    at ')
  const verbose = await runCli(['--verbose', 'setup'], env)
  expect(verbose.exitCode).toBe(69)
  expect(verbose.stderr).toContain('\n    at ')
})

test('a closed stdout pipe is not an error', async () => {
  const withvm = runCli(['doctor', '--json'])
  withvm.stdout.destroy()
  expect(await withvm).toMatchObject({ stderr: '' })
})

test('a QEMU that hangs in the probe exits within seconds after withvm is killed', async () => {
  const dir = makeTemporaryDir()
  const pids = join(dir, 'pids')
  const WITHVM_QEMU = writeProgram(
    join(dir, 'hanging-qemu'),
    `[ "$1" = --version ] && exec echo "QEMU emulator version 9.9.9"
echo $$ >>${pids}
while :; do :; done`,
  )
  const TMPDIR = makeTemporaryDir()
  const withvm = runCli(['doctor'], { WITHVM_QEMU, WITHVM_CACHE: dir, TMPDIR })
  const readPids = () => (existsSync(pids) ? readFileSync(pids, 'utf8').trim().split('\n').map(Number) : [])
  await expect.poll(() => readPids().length, { timeout: 10_000 }).toBeGreaterThan(0)
  withvm.kill('SIGKILL')
  await withvm
  const areAlive = () => readPids().filter((pid) => existsSync(`/proc/${pid}`))
  await expect.poll(areAlive, { timeout: 20_000 }).toEqual([])
  expect(readdirSync(TMPDIR)).toEqual([])
})

test('each kind of error has its own exit code', () => {
  const details = { summary: 's', hint: 'h' }
  expect(exitCodeOf(vmError('INVALID_OPTIONS', details))).toBe(2)
  expect(exitCodeOf(vmError('NO_SPACE', details))).toBe(69)
  expect(exitCodeOf(vmError('GUEST_PANICKED', details))).toBe(1)
  expect(exitCodeOf(new TypeError('x is not a function'))).toBe(70)
})

test('an unexpected error is printed with its stack', () => {
  const error = new TypeError('x is not a function')
  expect(formatError(error, false)).toBe(`withvm: ${error.stack}`)
  expect(formatError('text', false)).toBe('withvm: text')
})

test('`withvm list` prints what QEMU supports and rejects unknown devices and architectures', async () => {
  const machines = (await runCli(['list', 'machines'])).stdout.split('\n')
  expect(machines).toEqual(expect.arrayContaining(['none', 'pc', 'q35']))
  expect((await runCli(['list', 'cpus'])).stdout.split('\n')).toContain('qemu64')
  expect((await runCli(['list', 'devices', 'virtio-rng-pci'])).stdout).toMatch(/^max-bytes=<uint64>$/m)
  expect(await runCli(['list', 'devices', 'virtio-rng'])).toMatchObject({ exitCode: 2, stdout: '' })
  expect(await runCli(['list', 'machines', '--arch', 'toaster'])).toMatchObject({ exitCode: 2, stdout: '' })
  expect(await runCli(['list', 'screens'])).toMatchObject({ exitCode: 2, stdout: '' })
})

test('`sudo withvm setup` reports what the user who called sudo lacks for the image debian', async () => {
  const dir = makeTemporaryDir()
  const env = { PATH: makePath(dir, {}), WITHVM_CACHE: dir, SUDO_USER: 'nobody-else', SUDO_UID: '4711' }
  const { stderr, exitCode } = await runCli(['setup', '--check'], env)
  expect(exitCode).toBe(1)
  expect(stderr).toContain('newuidmap, newgidmap')
  expect(stderr).toContain(
    'withvm: the user nobody-else cannot build the image debian: no ids for nobody-else in /etc/subuid and /etc/subgid.\nFix: Run `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody-else`;',
  )
})
