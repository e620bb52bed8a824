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

// Some tests run a program of their own with the built package.
beforeAll(buildCli)

test('a body that throws gets its own error back, and the guest is gone', async () => {
  const tmpdir = ownTmpdir()
  const own = new Error('mine')
  await expect(withVM({ tmpdir }, () => Promise.reject(own))).rejects.toBe(own)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('the error of a body is not hidden by a folder that cannot be removed', async () => {
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

test('a body that hangs is ended when its time is up', async () => {
  const tmpdir = ownTmpdir()
  const hang = withVM({ tmpdir, timeouts: { body: '1s' } }, (vm) => vm.ssh`sleep 1000`)
  const error = await failureOf(hang)
  expect(error.code).toBe('BODY_TIMEOUT')
  expect(error.message).toContain("The body of withVM() for the guest 'tiny' was still running after 1 s.")
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('an abort ends the body, and one during the start ends the start', async () => {
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

test('a QEMU that is killed while in use ends what waits for the guest at once', async () => {
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
  expect(errors[0]?.message).toContain('QEMU went away while the guest was in use: signal SIGKILL.')
  expect(errors[0]?.hint).toMatch(/^Find out what killed QEMU: it was another program or a person/)
  expect((await failureOf(vm.ssh`true`)).code).toBe('QEMU_DIED')
  expect(await vm.wait()).toEqual({ reason: 'qemu-died', exitCode: undefined })
  await vm.dispose()
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a guest that panics while in use ends what waits for it at once', async () => {
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

test('a guest that was disposed of says so', async () => {
  const vm = await launchVM()
  await vm.dispose()
  await vm.dispose()
  const error = await failureOf(vm.ssh`true`)
  expect(error.code).toBe('VM_NOT_RUNNING')
  expect(error.message).toBe(
    'The guest was disposed of.\nFix: use it only inside the body of `withVM()`, and await every promise there.',
  )
})

test('a full disk of the host is an error of its own, before and while the guest runs', async () => {
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

test('a folder for runs that does not exist is refused', async () => {
  const error = await failureOf(launchVM({ tmpdir: '/nowhere/at/all' }))
  expect(error.code).toBe('WORKSPACE_FAILED')
  expect(error.message).toContain('No folder for the run could be made in /nowhere/at/all.')
})

test('two guests that ask for one port: the second is refused by the name of the port', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ tmpdir, hostfwd: [{ guest: 80 }] })
  const host = vm.hostPort(80)
  const error = await failureOf(launchVM({ tmpdir, hostfwd: [{ guest: 80, host }] }))
  expect(error.code).toBe('PORT_UNAVAILABLE')
  expect(error.message).toContain(`Port ${host} of this host is taken: another guest of withvm forwards it`)
  await vm.dispose()
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a port that another program listens on is refused by what QEMU says', async () => {
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

test('a folder whose path is longer than a socket may have still works', async () => {
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
  '%s to the program leaves nothing behind',
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

test('after SIGKILL of the program no QEMU is left, and the next run sweeps the rest', async () => {
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

test('a program that exits in the middle of a test leaves nothing behind', async () => {
  const tmpdir = ownTmpdir()
  const { exitCode } = await runScript(tmpdir, `const vm = await launchVM()\nprocess.exit(7)`)
  expect(exitCode).toBe(7)
  await expect.poll(() => findLeftovers(tmpdir), { timeout: 2000 }).toEqual(NOTHING)
})

test('a folder that a living run uses is not swept by another', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ tmpdir })
  const { exitCode } = await runScript(tmpdir, `await withVM({ ready: 'none', ssh: false }, () => {})`)
  expect(exitCode).toBe(0)
  expect((await vm.ssh`echo alive`).stdout).toBe('alive')
})
