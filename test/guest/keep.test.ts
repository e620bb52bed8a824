import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { launchVM, withVM } from 'withvm'
import { buildCli, runCli } from '../support/built-cli.js'
import { failureOf } from '../support/failure-of.js'
import { type ListedGuest, listGuests, stopKeptGuests } from '../support/kept-guests.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { rejection } from '../support/messages.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'
import { runVitest } from '../support/vitest-project.js'

const MAIN = new URL('../../dist/src/cli/main.js', import.meta.url).pathname

// The keeper and the command run from the build.
beforeAll(buildCli)

/** Runs a failing `withVM()` body in a separate process. Returns the guest that it kept. */
async function keepOne(tmpdir: string, options = "keepOnFailure: '10m'"): Promise<ListedGuest> {
  stopKeptGuests(tmpdir)
  const source = `
    await withVM({ image: 'tiny', ${options} }, (vm) => vm.ssh\`echo kept >/root/note; exit 3\`)
      .catch((error) => console.log(error.message))`
  const { stdout } = await runScript(tmpdir, source)
  const [guest] = await listGuests(tmpdir)
  if (guest === undefined) throw new Error(`no guest was kept: ${stdout}`)
  expect(stdout).toContain(`npx withvm ssh ${guest.name} `)
  return guest
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

async function untilGone(tmpdir: string): Promise<void> {
  await expect.poll(() => findLeftovers(tmpdir), { timeout: 60_000, interval: 50 }).toEqual(NOTHING)
}

/** Runs `withvm console` and types each text once its pattern appears after the previous one, then Ctrl-]. */
async function onConsole(
  name: string,
  steps: ReadonlyArray<readonly [wait: RegExp, type: string]>,
): Promise<string> {
  const child = execa(process.execPath, [MAIN, 'console', name], { reject: false, timeout: 30_000 })
  const rest = [...steps]
  let shown = ''
  child.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString()
    const [wait, type] = rest[0] ?? []
    if (wait === undefined || type === undefined || !wait.test(shown)) return
    rest.shift()
    shown = ''
    child.stdin.write(type)
  })
  const { stdout, exitCode } = await child
  expect(exitCode).toBe(0)
  return stdout
}

const typing = (line: string, answer: RegExp) =>
  [
    [/# /, `${line}\r`],
    [answer, '\x1d'],
  ] as const

test('a kept guest outlives its process and offers a shell and a console until it is stopped', async () => {
  const tmpdir = ownTmpdir()
  const guest = await keepOne(tmpdir)
  expect(guest).toMatchObject({ guest: 'tiny', image: 'tiny', ports: [{ guest: 22 }] })
  expect(guest.kept?.why).toMatch(/^The command `echo kept >\/root\/note; exit 3` failed/)
  const forMs = Date.parse(guest.kept?.until ?? '') - Date.now()
  expect(forMs).toBeGreaterThan(9 * 60_000)
  expect(forMs).toBeLessThan(10 * 60_000)
  expect((await runCli(['ps'])).stdout).toMatch(
    new RegExp(
      `^${guest.name} +tiny +${guest.pid} +\\d+ m?s +\\d+:22 +kept until \\d\\d:\\d\\d: The command`,
      'm',
    ),
  )

  expect(await runCli(['ssh', guest.name, '--', 'cat /root/note; exit 4'])).toMatchObject({
    stdout: 'kept',
    exitCode: 4,
  })
  expect(await runCli(['ssh', guest.name, '--', 'printf', '%s|', 'a b', '$HOME'])).toMatchObject({
    stdout: 'a b|$HOME|',
  })
  expect(await onConsole(guest.name, typing('echo $((6 * 7))', /\n42\r\n/))).toContain('withvm: init')
  expect(await onConsole(guest.name, typing('echo $((6 * 8))', /\n48\r\n/))).toMatch(
    /\n42\r\n[\s\S]*\n48(\r\n|$)/,
  )
  expect(readFileSync(join(guest.runFolder, 'serial.log'), 'utf8')).toContain('\n48\r\n')

  const stopped = await runCli(['stop', guest.name])
  expect(stopped).toMatchObject({ stdout: `The guest '${guest.name}' was stopped and removed.`, exitCode: 0 })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('`withvm ssh` opens a shell with a terminal in a kept guest', async () => {
  const tmpdir = ownTmpdir()
  const { name } = await keepOne(tmpdir)
  const child = execa('script', ['-qec', `${process.execPath} ${MAIN} ssh ${name}`, '/dev/null'], {
    reject: false,
    timeout: 30_000,
  })
  child.stdout.once('data', () => child.stdin.write('stty size; exit 5\r'))
  const { stdout, exitCode } = await child
  expect(stdout).toContain('24 80')
  expect(exitCode).toBe(5)
})

test('`withvm console` accepts one client at a time and ends with the guest', async () => {
  const tmpdir = ownTmpdir()
  const { name } = await keepOne(tmpdir)
  const first = execa(process.execPath, [MAIN, 'console', name], { reject: false, timeout: 20_000 })
  await new Promise((resolve) => first.stdout.once('data', resolve))
  const second = await runCli(['console', name])
  expect(second.stderr).toContain(`The serial console of the guest '${name}' is open in another terminal.`)
  expect(second.exitCode).toBe(2)
  await runCli(['stop', name])
  expect(await first).toMatchObject({ exitCode: 0 })
})

test('a later run sweeps a kept guest only after its keeper was killed', async () => {
  const tmpdir = ownTmpdir()
  const guest = await keepOne(tmpdir)
  const another = () => runScript(tmpdir, `await withVM({ ready: 'none' }, () => {})`, 'another')
  await another()
  expect(await listGuests(tmpdir)).toMatchObject([{ name: guest.name, pid: guest.pid }])
  const { keeperPid } = JSON.parse(readFileSync(join(guest.runFolder, 'kept.json'), 'utf8'))
  process.kill(keeperPid, 'SIGKILL')
  await another()
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a kept guest leaves no files or processes after a kill of its QEMU or a power-off', async () => {
  const tmpdir = ownTmpdir()
  const killed = await keepOne(tmpdir)
  process.kill(killed.pid, 'SIGKILL')
  await untilGone(tmpdir)
  const off = await keepOne(tmpdir)
  await runCli(['ssh', off.name, '--', 'poweroff'])
  await untilGone(tmpdir)
})

test('a kept guest is removed when its time limit expires', async () => {
  const tmpdir = ownTmpdir()
  await keepOne(tmpdir, "keepOnFailure: '6s'")
  await untilGone(tmpdir)
})

test('`withvm stop` removes a kept guest whose keeper was killed', async () => {
  const tmpdir = ownTmpdir()
  const guest = await keepOne(tmpdir)
  const { keeperPid } = JSON.parse(readFileSync(join(guest.runFolder, 'kept.json'), 'utf8'))
  process.kill(keeperPid, 'SIGKILL')
  expect(await runCli(['stop', guest.name])).toMatchObject({ exitCode: 0 })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('`withvm stop` removes both folders of a kept guest whose sockets are in a shorter path', async () => {
  const tmpdir = join(ownTmpdir(), 'x'.repeat(90))
  mkdirSync(tmpdir)
  const guest = await keepOne(tmpdir)
  await onConsole(guest.name, typing('echo $((6 * 7))', /\n42\r\n/))
  const commandLine = readFileSync(`/proc/${guest.pid}/cmdline`, 'utf8')
  const sockets = /path=(\/tmp\/withvm-[0-9a-z.]+-[0-9a-f]{6})\/qmp\.sock/.exec(commandLine)?.[1] ?? ''
  expect(existsSync(sockets)).toBe(true)
  await runCli(['stop', guest.name])
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  expect(existsSync(sockets)).toBe(false)
})

test('a guest is not kept after a body that passes or a process that is killed', async () => {
  const tmpdir = ownTmpdir()
  await withVM({ tmpdir, keepOnFailure: true, ready: 'none' }, () => {})
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  const source = `
    await launchVM({ keepOnFailure: true, ready: 'none' })
    console.log('started')
    setInterval(() => {}, 1000)`
  const child = runScript(tmpdir, source)
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  expect(findLeftovers(tmpdir)).toMatchObject({
    folders: [expect.any(String)],
    processes: [expect.any(String)],
  })
  child.kill('SIGKILL')
  await child
  await untilGone(tmpdir)
})

test('`withvm console` works without earlier output if the log is a FIFO or a symbolic link', async () => {
  const tmpdir = ownTmpdir()
  const { name, runFolder } = await keepOne(tmpdir)
  const log = join(runFolder, 'serial.log')
  const replacements = [() => execFileSync('mkfifo', [log]), () => symlinkSync('/etc/passwd', log)]
  for (const replace of replacements) {
    rmSync(log)
    replace()
    const leave = { input: '\x1d', reject: false, timeout: 30_000 } as const
    const { stdout, stderr, exitCode } = await execa(process.execPath, [MAIN, 'console', name], leave)
    expect(stderr).toContain('withvm: earlier output is not available: ')
    expect(stderr).toContain(log)
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 0 })
  }
})

test('a guest that fails to start is kept with its console', async () => {
  const tmpdir = ownTmpdir()
  stopKeptGuests(tmpdir)
  const error = await failureOf(launchVM({ image: 'tiny', tmpdir, boot: 'c', keepOnFailure: true }))
  expect(error.code).toBe('GUEST_FAILED')
  const [guest] = await listGuests(tmpdir)
  expect(error.message).toContain(
    `Left running:\n  | Guest '${guest?.name}' was left running for 60 min:\n  |   npx withvm ssh ${guest?.name} `,
  )
  expect(await onConsole(guest?.name ?? '', [[/device\./, '\x1d']])).toContain('No bootable device.')
})

test('`vm.keep()` keeps the guest and disposes of the VM object', async () => {
  const tmpdir = ownTmpdir()
  stopKeptGuests(tmpdir)
  const vm = await launchVM({ image: 'tiny', tmpdir, name: 'mine', keepOnFailure: '5m' })
  const kept = await vm.keep('to look into it')
  expect(await listGuests(tmpdir)).toMatchObject([{ name: kept.name, guest: 'mine', pid: vm.pid }])
  expect(vm.isRunning).toBe(false)
  expect((await failureOf(vm.ssh`true`)).code).toBe('VM_NOT_RUNNING')
  await vm.dispose()
  expect((await runCli(['ssh', 'mine', '--', 'hostname'])).stdout).toBe('mine')
  await using other = await launchVM({ image: 'tiny', tmpdir, ready: 'none' })
  expect((await failureOf(other.keep('why not'))).message).toContain('it was started without `keepOnFailure`')
})

test('`withvm stop` and `withvm console` reject a guest in use, and an unknown guest with a suggestion of similar names', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ image: 'tiny', tmpdir, name: 'under-test' })
  const [guest] = await listGuests(tmpdir)
  expect(guest).toMatchObject({ pid: vm.pid, kept: null })
  const unknown = await runCli(['stop', 'udner-test'])
  expect(unknown.exitCode).toBe(2)
  expect(unknown.stderr).toBe(
    [
      "withvm: No guest named 'udner-test' is running on this host.",
      `  Expected: '${guest?.name}'`,
      "  Got:      'udner-test'",
      'Fix: Run `withvm ps` to list the running guests. A kept guest is removed when its time limit expires.',
    ].join('\n'),
  )
  for (const command of ['stop', 'console']) {
    const refused = await runCli([command, 'under-test'])
    expect(refused.stderr).toContain(`The guest '${guest?.name}' is in use by the process that started it.`)
    expect(refused.exitCode).toBe(2)
  }
  expect(vm.isRunning).toBe(true)
  // A shell in the guest of a running test is allowed.
  expect((await runCli(['ssh', 'under-test', '--', 'hostname'])).stdout).toBe('under-test')
})

/** Starts a guest that may be kept, kills its test process, and waits until the keeper has removed the folder. */
async function killTestProcess(tmpdir: string, options: string, onStarted?: (qemuPid: number) => void) {
  const source = `
    const vm = await launchVM({ image: false, ssh: false, ready: 'none', keepOnFailure: true, ${options} })
    console.log(vm.pid)
    setInterval(() => {}, 1000)`
  const child = runScript(tmpdir, source)
  const qemuPid = Number(await new Promise((resolve) => child.stdout?.once('data', resolve)))
  onTestFinished(() => void (isRunning(qemuPid) && process.kill(qemuPid, 'SIGKILL')))
  onStarted?.(qemuPid)
  child.kill('SIGKILL')
  await child
  await expect.poll(() => findLeftovers(tmpdir).folders, { timeout: 10_000 }).toEqual([])
  return { isQemuRunning: isRunning(qemuPid) }
}

test('the keeper ends a QEMU whose arguments no longer name its folder', async () => {
  const tmpdir = ownTmpdir()
  // A compromised QEMU can overwrite its arguments. This one gets another text for the same path.
  const qemu = join(tmpdir, 'qemu-system-x86_64-disguised')
  const script = `#!/bin/sh
for arg; do shift; set -- "$@" "$(printf %s "$arg" | sed 's,/qmp.sock,/./qmp.sock,')"; done
exec qemu-system-x86_64 "$@"
`
  writeFileSync(qemu, script, { mode: 0o755 })
  expect(await killTestProcess(tmpdir, `qemu: '${qemu}'`)).toEqual({ isQemuRunning: false })
})

test.runIf(process.geteuid?.() === 0)(
  'the keeper does not take a process of another user for QEMU, whatever its arguments',
  async () => {
    const tmpdir = ownTmpdir()
    const otherUser = ['--reuid', '54321', '--regid', '54321', '--clear-groups']
    // It has a lower process id than QEMU, and waits for the argument.
    const decoy = execa(
      'setpriv',
      [...otherUser, 'sh', '-c', 'read -r arg; exec sh -c "sleep 1000; :" "$arg"'],
      {
        reject: false,
      },
    )
    onTestFinished(() => void decoy.kill('SIGKILL'))
    const { isQemuRunning } = await killTestProcess(tmpdir, '', (qemuPid) => {
      const args = readFileSync(`/proc/${qemuPid}/cmdline`, 'utf8').split('\0')
      decoy.stdin.write(`${args.find((arg) => arg.startsWith('socket,id=qmp,'))}\n`)
      const deadline = performance.now() + 5000
      while (
        !readFileSync(`/proc/${decoy.pid}/cmdline`, 'utf8').includes('id=qmp') &&
        performance.now() < deadline
      );
    })
    expect({ isQemuRunning, isDecoyRunning: isRunning(decoy.pid ?? 0) }).toEqual({
      isQemuRunning: false,
      isDecoyRunning: true,
    })
  },
)

test('a guest is not kept after an abort or with an invalid WITHVM_KEEP', async () => {
  const tmpdir = ownTmpdir()
  const reason = new Error('enough')
  const controller = new AbortController()
  const run = withVM({ tmpdir, keepOnFailure: true, ready: 'none', signal: controller.signal }, async () => {
    controller.abort(reason)
    await sleep(10_000)
  })
  expect(await rejection(run)).toBe(reason)
  const { stdout } = await execa(process.execPath, ['--input-type=module'], {
    input: `
      import { launchVM } from '${new URL('../../dist/fixtures/index.js', import.meta.url).pathname}'
      await launchVM({ ready: 'none' }).catch((error) => console.log(error.message))`,
    env: { TMPDIR: tmpdir, WITHVM_KEEP: 'yes' },
  })
  expect(stdout).toContain('The environment variable WITHVM_KEEP has an invalid value.')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

describe('fixtures', () => {
  test('the fixtures keep only the guests of failed tests after Vitest exits', async () => {
    const tmpdir = ownTmpdir()
    stopKeptGuests(tmpdir)
    const source = `
      test('fails', async ({ vm, launch }) => {
        await launch({ name: 'other' })
        await vm.ssh\`false\`
      })
      test('passes', async ({ vm }) => { await vm.ssh\`true\` })
      test('does not start', async ({ launch }) => { await launch({ name: 'broken', boot: 'c' }) })
      test('is not to be kept', async ({ launch }) => {
        await (await launch({ name: 'not-kept', keepOnFailure: false })).ssh\`false\`
      })`
    const run = await runVitest(join(tmpdir, 'project'), source, {
      env: { TMPDIR: tmpdir, WITHVM_KEEP: '10m' },
    })
    expect(run.output).toContain('Tests  3 failed | 1 passed')
    const guests = await listGuests(tmpdir)
    expect(guests.map(({ guest, kept }) => [guest, kept?.why]).sort()).toEqual([
      ['broken', 'The firmware found nothing to boot.'],
      ['other', "the test 'fails' failed"],
      ['tiny', "the test 'fails' failed"],
    ])
    for (const { name } of guests) {
      expect(run.output).toContain(`Guest '${name}' was left running for 10 min:`)
      expect(run.output).toContain(`npx withvm console ${name} `)
    }
    const tiny = guests.find(({ guest }) => guest === 'tiny')
    expect(await runCli(['ssh', tiny?.name ?? '', '--', 'hostname'])).toMatchObject({ stdout: 'tiny' })
    await runCli(['stop', ...guests.map(({ name }) => name)])
    expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  })

  test('the fixtures keep a shared guest as the failed test left it, and start another one for the next test', async () => {
    const tmpdir = ownTmpdir()
    stopKeptGuests(tmpdir)
    const source = `
      test.override({ vmScope: 'file' })
      test('fails', async ({ vm }) => { await vm.ssh\`touch /root/failed; false\` })
      test('gets another guest', async ({ vm }) => { expect((await vm.ssh\`ls /root\`).stdout).toBe('') })
      test.describe.concurrent('concurrent tests', () => {
        test('fails', async ({ vm }) => { await vm.ssh\`touch /root/failed; false\` })
        test('passes', async ({ vm }) => { await vm.ssh\`sleep 3\` })
      })`
    const run = await runVitest(join(tmpdir, 'project'), source, {
      env: { TMPDIR: tmpdir, WITHVM_KEEP: '1' },
      args: ['--pool=threads'],
    })
    expect(run.output).toContain('Tests  2 failed | 2 passed')
    expect(run.output).not.toContain('was lost in an earlier test')
    const guests = await listGuests(tmpdir)
    expect(guests.map(({ kept }) => kept?.why)).toEqual([
      "the test 'fails' failed",
      "the test 'fails' failed",
    ])
    for (const { name } of guests) {
      expect(run.output).toContain(`npx withvm console ${name} `)
      expect((await runCli(['ssh', name, '--', 'ls /root'])).stdout).toBe('failed')
    }
  })
})
