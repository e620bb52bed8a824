import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchVM } from 'withvm'
import { buildCli, runCli } from '../support/built-cli.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { writeScript } from '../support/run-script.js'

const MAIN = new URL('../../dist/src/cli/main.js', import.meta.url).pathname

beforeAll(buildCli)

/** Starts a command that shows the console on a terminal, and waits until it has shown the earlier output. */
async function startViewer(...args: string[]) {
  const command = `${process.execPath} ${MAIN} ${args.join(' ')}`
  const viewer = execa('script', ['-qec', command, '/dev/null'], { reject: false, timeout: 120_000 })
  onTestFinished(() => void viewer.kill('SIGKILL'))
  let shown = ''
  viewer.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString()
  })
  await expect.poll(() => shown, { timeout: 60_000 }).toContain('withvm: init')
  return { viewer, shown: () => shown }
}

test('a guest of a running test is listed, watched, and exchanges files, by the same name', async () => {
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ image: 'tiny', name: 'web', tmpdir, log: () => {} })
  expect(vm.id).toMatch(/^web-[0-9a-f]{6}$/)
  expect(vm.runFolder.endsWith(vm.id.replace('web', ''))).toBe(true)
  const listed = JSON.parse((await runCli(['ps', '--json'])).stdout) as Array<{ name: string }>
  expect(listed.find(({ name }) => name === vm.id)).toMatchObject({
    ...{ guest: 'web', image: 'tiny', use: 'running', pid: vm.pid, ownerPid: process.pid, kept: null },
  })

  const views = [await startViewer('logs', '-f', vm.id), await startViewer('console', '--view', 'web')]
  await vm.ssh`echo from-the-test >/dev/ttyS0`
  for (const { shown } of views) await expect.poll(shown, { timeout: 30_000 }).toContain('from-the-test')
  const [follower, watcher] = views as [(typeof views)[0], (typeof views)[0]]
  watcher.viewer.stdin.write('typed by the viewer\r\x1d')
  expect(await watcher.viewer).toMatchObject({ exitCode: 0 })
  expect(watcher.shown()).toContain('read-only. Press Ctrl-] to exit.')
  expect(watcher.shown() + vm.serial.text).not.toContain('typed by')
  expect((await runCli(['logs', '-n', '1', vm.id])).stdout).toContain('from-the-test')
  const refused = await runCli(['console', vm.id])
  expect(refused).toMatchObject({ exitCode: 2 })
  expect(refused.stderr).toContain(`Run \`withvm console --view ${vm.id}\` to watch its console`)

  mkdirSync(join(tmpdir, 'site', 'css'), { recursive: true })
  writeFileSync(join(tmpdir, 'site', 'css', 'a.css'), 'body {}')
  writeFileSync(join(tmpdir, 'note'), 'a note')
  const copies = [
    ['cp', join(tmpdir, 'site'), join(tmpdir, 'note'), 'web:'],
    ['cp', `${vm.id}:/root/site`, join(tmpdir, 'copy')],
  ]
  for (const copy of copies) expect(await runCli(copy)).toMatchObject({ exitCode: 0, stderr: '', stdout: '' })
  expect(readFileSync(join(tmpdir, 'copy', 'css', 'a.css'), 'utf8')).toBe('body {}')
  // The words after the name belong to the command, including its options.
  expect((await runCli(['ssh', 'web', 'head', '-c', '6', '/root/note'])).stdout).toBe('a note')
  const missing = await runCli(['cp', 'web:/nowhere', tmpdir])
  expect(missing).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('no such file or folder') })

  await vm.dispose()
  expect(await follower.viewer).toMatchObject({ exitCode: 0 })
})

test('`withvm stop --all` stops the kept guests only, and `ps` marks standbys', async () => {
  const tmpdir = ownTmpdir()
  // A PID namespace hides the guests of other tests.
  const source = `
    import { execFileSync } from 'node:child_process'
    import { setTimeout as sleep } from 'node:timers/promises'
    const cli = (...words) => JSON.parse(execFileSync(process.execPath, ['${MAIN}', ...words, '--json'], { encoding: 'utf8' }))
    const list = () => cli('ps').map(({ name, guest, image, use }) => ({ name, guest, image, use }))
    const log = () => {}
    const kept = await launchVM({ image: 'tiny', name: 'mine', keepOnFailure: '5m', log })
    await kept.keep('to look into it')
    const used = await launchVM({ image: 'tiny', standby: true, log })
    let before = list()
    while (!before.some(({ use }) => use === 'standby')) { await sleep(200); before = list() }
    const standby = before.find(({ use }) => use === 'standby')
    const refused = await new Promise((resolve) => {
      try { cli('ssh', standby.name, 'true') } catch (error) { resolve(String(error.stderr)) }
    })
    const { stopped } = cli('stop', '--all')
    console.log(JSON.stringify({ names: [kept.id, used.id], before, refused, stopped, after: list(), again: cli('stop', '--all') }))
    await used.dispose()`
  const script = writeScript(tmpdir, source, 'stop-all')
  const container = ['--pid', '--fork', '--mount-proc', '--kill-child', process.execPath, script]
  const run = await execa('unshare', container, { reject: false, env: { TMPDIR: tmpdir }, timeout: 240_000 })
  const result = JSON.parse(run.stdout)
  const [kept, used] = result.names as string[]
  const uses = (guests: Array<{ name: string; image: string; use: string }>) =>
    guests.map(({ name, image, use }) => [name, image, use])
  const standby = [expect.stringMatching(/^tiny-[0-9a-f]{6}$/), 'tiny', 'standby']
  expect(uses(result.before)).toEqual([[kept, 'tiny', 'kept'], [used, 'tiny', 'running'], standby])
  expect(result.refused).toContain('is a standby: it is paused until a test takes it.')
  expect(result.stopped).toEqual([kept])
  expect(uses(result.after)).toEqual([[used, 'tiny', 'running'], standby])
  expect(result.again).toEqual({ stopped: [] })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
}, 300_000)
