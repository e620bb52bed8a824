import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchVM, withVM } from 'withvm'
import { buildCli } from '../support/built-cli.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

// Some tests run a separate program with the built package.
beforeAll(buildCli)

test('a body that throws rejects with its own error, and the guest is removed', async () => {
  const tmpdir = ownTmpdir()
  const own = new Error('mine')
  await expect(withVM({ tmpdir }, () => Promise.reject(own))).rejects.toBe(own)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a folder that cannot be removed does not hide the error of a body', async () => {
  const tmpdir = ownTmpdir()
  const own = new Error('mine')
  let mounted = ''
  const failing = withVM({ tmpdir, ready: 'none' }, async (vm) => {
    mounted = join(vm.runFolder, 'mounted')
    mkdirSync(mounted)
    await execa('mount', ['-t', 'tmpfs', 'none', mounted])
    throw own
  })
  const outcome = await failing.catch((error: unknown) => error)
  await execa('umount', ['-l', mounted])
  expect(outcome).toBe(own)
})

test('a body that exceeds `timeouts.body` fails, and its guest is removed', async () => {
  const tmpdir = ownTmpdir()
  const hang = withVM({ tmpdir, timeouts: { body: '1s' } }, (vm) => vm.ssh`sleep 1000`)
  const error = await failureOf(hang)
  expect(error.code).toBe('BODY_TIMEOUT')
  expect(error.message).toMatch(
    /The body of withVM\(\) for the guest 'tiny-[0-9a-f]{6}' did not finish within 1 s\./,
  )
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('an abort ends the body, or the start if the guest is not ready yet', async () => {
  const tmpdir = ownTmpdir()
  const reason = new Error('enough')
  const during = new AbortController()
  const body = withVM({ tmpdir, signal: during.signal }, async (vm) => {
    setTimeout(() => during.abort(reason), 100)
    await vm.ssh`sleep 1000`
  })
  await expect(body).rejects.toBe(reason)
  const early = new AbortController()
  setTimeout(() => early.abort(reason), 700)
  await expect(launchVM({ start: 'cold', tmpdir, signal: early.signal })).rejects.toBe(reason)
  await expect(launchVM({ tmpdir, signal: AbortSignal.timeout(150) })).rejects.toThrow('timeout')
  await expect(launchVM({ tmpdir, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('every wait of a guest rejects at once when its QEMU is killed', async () => {
  const tmpdir = ownTmpdir()
  const vm = await launchVM({ tmpdir })
  const pending = [
    vm.ssh`sleep 1000`,
    vm.exec('sleep 1000'),
    vm.serial.waitFor('never'),
    vm.upload('/etc', '/x'),
  ]
  const failures = Promise.all(pending.map((promise) => failureOf(promise)))
  await sleep(200)
  process.kill(vm.pid, 'SIGKILL')
  const errors = await failures
  expect(errors.map(({ code }) => code)).toEqual(['QEMU_DIED', 'QEMU_DIED', 'QEMU_DIED', 'QEMU_DIED'])
  expect(errors[0]?.message).toContain('QEMU ended unexpectedly while the guest was in use: signal SIGKILL.')
  expect(errors[0]?.hint).toMatch(
    /^Check the logs of systemd-oomd, earlyoom and similar programs: another program or a user killed QEMU/,
  )
  expect((await failureOf(vm.ssh`true`)).code).toBe('QEMU_DIED')
  expect(await vm.wait()).toEqual({ reason: 'qemu-died', exitCode: undefined })
  await vm.dispose()
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a command rejects at once when its guest panics', async () => {
  await using vm = await launchVM()
  const error = await failureOf(vm.ssh`echo c > /proc/sysrq-trigger`)
  expect(error.code).toBe('GUEST_PANICKED')
  expect(error.details.got).toContain('Kernel panic - not syncing: sysrq triggered crash')
  expect(error.evidence.map(({ label }) => label)).toContain('Serial console, last lines')
  await vm.serial.waitFor(/Kernel panic/)
  await vm.powerCut()
  await vm.start()
  expect((await vm.ssh`echo back`).stdout).toBe('back')
})

test('a command of a disposed guest is rejected', async () => {
  const vm = await launchVM()
  await vm.dispose()
  await vm.dispose()
  const error = await failureOf(vm.ssh`true`)
  expect(error.code).toBe('VM_NOT_RUNNING')
  expect(error.message).toBe(
    'The guest was disposed of.\nFix: Use the guest only inside the body of `withVM()`, and await every promise there.',
  )
})

test('a full host disk is reported as NO_SPACE, before and while the guest runs', async () => {
  const tmpdir = ownTmpdir()
  const small = join(tmpdir, 'small')
  mkdirSync(small)
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', small])
  onTestFinished(async () => void (await execa('umount', ['-l', small])))
  await using vm = await launchVM({ tmpdir: small })
  const during = await failureOf(vm.ssh`dd if=/dev/urandom of=/big bs=1M count=64 && sync`)
  expect(during.code).toBe('NO_SPACE')
  expect(during.message).toContain('The disk of this host is full')
  const error = await failureOf(launchVM({ tmpdir: small }))
  expect(error.code).toBe('NO_SPACE')
  expect(error.kind).toBe('infrastructure')
})

test('a `tmpdir` that does not exist is rejected', async () => {
  const error = await failureOf(launchVM({ tmpdir: '/nowhere/at/all' }))
  expect(error.code).toBe('WORKSPACE_FAILED')
  expect(error.message).toContain('The folder for the run could not be created in /nowhere/at/all.')
})

test('a host port that another guest forwards is rejected', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ tmpdir, hostfwd: [{ guest: 80 }] })
  const host = vm.hostPort(80)
  const error = await failureOf(launchVM({ tmpdir, hostfwd: [{ guest: 80, host }] }))
  expect(error.code).toBe('PORT_UNAVAILABLE')
  expect(error.message).toContain(`Host port ${host} is taken: another guest of withvm already forwards it`)
  await vm.dispose()
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a host port that another program listens on is rejected', async () => {
  const tmpdir = ownTmpdir()
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  const error = await failureOf(launchVM({ tmpdir, ssh: { hostPort: port } }))
  expect(error.code).toBe('PORT_UNAVAILABLE')
  expect(error.message).toContain(`tcp 127.0.0.1:${port}`)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a `tmpdir` longer than the limit of socket paths works', async () => {
  const tmpdir = join(ownTmpdir(), 'a'.repeat(60), 'b'.repeat(60))
  mkdirSync(tmpdir, { recursive: true })
  const folder = await withVM({ tmpdir }, async (vm) => {
    expect((await vm.exec('echo by socket')).stdout).toBe('by socket')
    return vm.runFolder
  })
  expect(Buffer.byteLength(folder)).toBeGreaterThan(108)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

const WAITS = `
const vm = await launchVM()
process.stdout.write('ready ' + vm.pid + ' ' + vm.runFolder + '\\n')
await vm.ssh\`sleep 1000\`
`

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s to the test process leaves nothing behind',
  async (signal) => {
    const tmpdir = ownTmpdir()
    const script = runScript(tmpdir, WAITS)
    await new Promise((resolve) => script.stdout?.once('data', resolve))
    expect(findLeftovers(tmpdir).folders).toHaveLength(1)
    script.kill(signal)
    const result = await script
    expect(result.signal).toBe(signal)
    await expect.poll(() => findLeftovers(tmpdir), { timeout: 2000 }).toEqual(NOTHING)
  },
)

test('after SIGKILL of the test process no QEMU is left, and the next run sweeps its files', async () => {
  const tmpdir = ownTmpdir()
  const script = runScript(tmpdir, WAITS)
  await new Promise((resolve) => script.stdout?.once('data', resolve))
  expect(findLeftovers(tmpdir).processes).toHaveLength(1)
  script.kill('SIGKILL')
  await script
  await expect.poll(() => findLeftovers(tmpdir).processes, { timeout: 1000 }).toEqual([])
  expect(findLeftovers(tmpdir).folders).toHaveLength(1)
  await runScript(tmpdir, `await withVM({}, () => {})`)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('process.exit() in a test leaves nothing behind', async () => {
  const tmpdir = ownTmpdir()
  const { exitCode } = await runScript(tmpdir, `const vm = await launchVM()\nprocess.exit(7)`)
  expect(exitCode).toBe(7)
  await expect.poll(() => findLeftovers(tmpdir), { timeout: 2000 }).toEqual(NOTHING)
})

test('the folder of a running process is not swept by another run', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ tmpdir })
  const { exitCode } = await runScript(tmpdir, `await withVM({ ready: 'none', ssh: false }, () => {})`)
  expect(exitCode).toBe(0)
  expect((await vm.ssh`echo alive`).stdout).toBe('alive')
})
