import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { beforeAll, describe, expect, test } from 'vitest'
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

// The keeper and the command are run from what was built.
beforeAll(buildCli)

/** Lets the body of a guest fail in a process of its own. Gives the guest that it left running. */
async function keepOne(tmpdir: string, options = "keepOnFailure: '10m'"): Promise<ListedGuest> {
  stopKeptGuests(tmpdir)
  const source = `
    await withVM({ image: 'tiny', ${options} }, (vm) => vm.ssh\`echo kept >/root/note; exit 3\`)
      .catch((error) => console.log(error.message))`
  const { stdout } = await runScript(tmpdir, source)
  const [guest] = await listGuests(tmpdir)
  if (guest === undefined) throw new Error(`nothing was left running: ${stdout}`)
  expect(stdout).toContain(`npx withvm ssh ${guest.name} `)
  return guest
}

async function untilGone(tmpdir: string): Promise<void> {
  await expect.poll(() => findLeftovers(tmpdir), { timeout: 15_000, interval: 50 }).toEqual(NOTHING)
}

/** Runs `withvm console`, types each text once its pattern is shown behind the one before, and then Ctrl-]. */
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

test('a guest that is kept outlives its process; its shell and its console can be had, until it is stopped', async () => {
  const tmpdir = ownTmpdir()
  const guest = await keepOne(tmpdir)
  expect(guest).toMatchObject({ guest: 'tiny', image: 'tiny', ports: [{ guest: 22 }] })
  expect(guest.kept?.why).toMatch(/^the command `echo kept >\/root\/note; exit 3` failed/)
  const forMs = Date.parse(guest.kept?.until ?? '') - Date.now()
  expect(forMs).toBeGreaterThan(9 * 60_000)
  expect(forMs).toBeLessThan(10 * 60_000)
  expect((await runCli(['ps'])).stdout).toMatch(
    new RegExp(
      `^${guest.name} +${guest.pid} +\\d+ m?s +tiny +\\d+:22 +until \\d\\d:\\d\\d: the command`,
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
  expect(stopped).toMatchObject({ stdout: `The guest '${guest.name}' was thrown away.`, exitCode: 0 })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a shell in a kept guest is on a terminal', async () => {
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

test('the console is for one at a time, and ends with the guest', async () => {
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

test('a later run sweeps neither a kept guest nor its keeper, but what is left when both were killed', async () => {
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

test('a kept guest whose QEMU is killed, or that powers itself off, leaves nothing', async () => {
  const tmpdir = ownTmpdir()
  const killed = await keepOne(tmpdir)
  process.kill(killed.pid, 'SIGKILL')
  await untilGone(tmpdir)
  const off = await keepOne(tmpdir)
  await runCli(['ssh', off.name, '--', 'poweroff'])
  await untilGone(tmpdir)
})

test('a kept guest is thrown away when its time is up', async () => {
  const tmpdir = ownTmpdir()
  await keepOne(tmpdir, "keepOnFailure: '6s'")
  await untilGone(tmpdir)
})

test('a kept guest is stopped also when its keeper was killed', async () => {
  const tmpdir = ownTmpdir()
  const guest = await keepOne(tmpdir)
  const { keeperPid } = JSON.parse(readFileSync(join(guest.runFolder, 'kept.json'), 'utf8'))
  process.kill(keeperPid, 'SIGKILL')
  expect(await runCli(['stop', guest.name])).toMatchObject({ exitCode: 0 })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a guest whose sockets are in a shorter folder is kept and stopped with both', async () => {
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

test('nothing is kept when nothing fails, and nothing is left of a process that is killed before it could', async () => {
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

test('the console of a kept guest is served without what it printed before, where its log is a FIFO or a link', async () => {
  const tmpdir = ownTmpdir()
  const { name, runFolder } = await keepOne(tmpdir)
  const log = join(runFolder, 'serial.log')
  const replacements = [() => execFileSync('mkfifo', [log]), () => symlinkSync('/etc/passwd', log)]
  for (const replace of replacements) {
    rmSync(log)
    replace()
    const leave = { input: '\x1d', reject: false, timeout: 30_000 } as const
    const { stdout, stderr, exitCode } = await execa(process.execPath, [MAIN, 'console', name], leave)
    expect(stderr).toContain('withvm: what it printed before cannot be shown: ')
    expect(stderr).toContain(log)
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 0 })
  }
})

test('a guest that does not start is kept as it is, and its console with it', async () => {
  const tmpdir = ownTmpdir()
  stopKeptGuests(tmpdir)
  const error = await failureOf(launchVM({ image: 'tiny', tmpdir, boot: 'c', keepOnFailure: true }))
  expect(error.code).toBe('GUEST_FAILED')
  const [guest] = await listGuests(tmpdir)
  expect(error.message).toContain(
    `Left running:\n  | The guest 'tiny' was left running, for 60 min:\n  |   npx withvm ssh ${guest?.name} `,
  )
  expect(await onConsole(guest?.name ?? '', [[/device\./, '\x1d']])).toContain('No bootable device.')
})

test('a guest is handed over by `vm.keep()`, and is then as one that was disposed of', async () => {
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
  expect((await failureOf(other.keep('why not'))).message).toContain(
    'it was started to end with this process',
  )
})

test('`stop` and `console` refuse what is not there or in use, and name what is near', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ image: 'tiny', tmpdir, name: 'under-test' })
  const [guest] = await listGuests(tmpdir)
  expect(guest).toMatchObject({ pid: vm.pid, kept: null })
  const unknown = await runCli(['stop', 'udner-test'])
  expect(unknown.exitCode).toBe(2)
  expect(unknown.stderr).toBe(
    [
      "withvm: No guest called 'udner-test' runs on this host.",
      `  Expected: '${guest?.name}'`,
      "  Got:      'udner-test'",
      'Fix: `withvm ps` lists the guests that run. One that was left running is thrown away when its time is up.',
    ].join('\n'),
  )
  for (const command of ['stop', 'console']) {
    const refused = await runCli([command, 'under-test'])
    expect(refused.stderr).toContain(`The guest '${guest?.name}' is in use by the process that started it.`)
    expect(refused.exitCode).toBe(2)
  }
  expect(vm.isRunning).toBe(true)
  // A look into a test that runs is fine.
  expect((await runCli(['ssh', 'under-test', '--', 'hostname'])).stdout).toBe('under-test')
})

test('an abort and a wrong WITHVM_KEEP keep nothing', async () => {
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
  expect(stdout).toContain('The environment variable WITHVM_KEEP cannot be used.')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

describe('the fixtures', () => {
  test('keep the guests of a test that fails, and no others, past the end of Vitest', async () => {
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
    for (const { name, guest } of guests) {
      expect(run.output).toContain(`The guest '${guest}' was left running, for 10 min:`)
      expect(run.output).toContain(`npx withvm console ${name} `)
    }
    const tiny = guests.find(({ guest }) => guest === 'tiny')
    expect(await runCli(['ssh', tiny?.name ?? '', '--', 'hostname'])).toMatchObject({ stdout: 'tiny' })
    await runCli(['stop', ...guests.map(({ name }) => name)])
    expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  })

  test('keep a shared guest as the test that failed left it, and give the next test another', async () => {
    const tmpdir = ownTmpdir()
    stopKeptGuests(tmpdir)
    const source = `
      test.override({ vmScope: 'file' })
      test('fails', async ({ vm }) => { await vm.ssh\`touch /root/failed; false\` })
      test('has another', async ({ vm }) => { expect((await vm.ssh\`ls /root\`).stdout).toBe('') })
      test.describe.concurrent('at the same time', () => {
        test('fails', async ({ vm }) => { await vm.ssh\`touch /root/failed; false\` })
        test('goes on', async ({ vm }) => { await vm.ssh\`sleep 3\` })
      })`
    const run = await runVitest(join(tmpdir, 'project'), source, {
      env: { TMPDIR: tmpdir, WITHVM_KEEP: '1' },
      args: ['--pool=threads'],
    })
    expect(run.output).toContain('Tests  2 failed | 2 passed')
    expect(run.output).not.toContain('left the shared guest')
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
