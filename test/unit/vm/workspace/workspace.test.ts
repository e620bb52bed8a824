import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { newRunFolderName } from '../../../../src/common/locks/run-folder-name.js'
import { formatQemuNote, PID_FILE } from '../../../../src/vm/workspace/run-folder.js'
import { sweepDeadWorkspaces } from '../../../../src/vm/workspace/sweep.js'
import { openWorkspace } from '../../../../src/vm/workspace/workspace.js'
import { buildCli } from '../../../support/built-cli.js'
import { findOtherNode } from '../../../support/other-node.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { passTime } from '../../../support/pass-time.js'

const BUILT = resolve(import.meta.dirname, '../../../../dist/src/vm/workspace')

beforeAll(buildCli)

/** Runs a script in another process, optionally wrapped in another command. */
function runApart(source: string, before: readonly string[] = [], node = process.execPath) {
  const script = `
    import { sweepDeadWorkspaces } from ${JSON.stringify(`${BUILT}/sweep.js`)}
    import { openWorkspace } from ${JSON.stringify(`${BUILT}/workspace.js`)}
    ${source}`
  const [file = '', ...args] = [...before, node, '--input-type=module', '-e', script]
  return execa(file, args, { reject: false })
}

test('a sweep removes both folders of a dead run with a long path', async () => {
  const base = join(ownTmpdir(), 'a'.repeat(100))
  mkdirSync(base)
  const { stdout } = await runApart(`
    const { dir, socketDir } = await openWorkspace(${JSON.stringify(base)})
    process.stdout.write(JSON.stringify([dir, socketDir]), () => process.kill(process.pid, 'SIGKILL'))`)
  const folders = JSON.parse(stdout) as string[]
  expect(folders.map((folder) => existsSync(folder))).toEqual([true, true])
  expect(folders[0]).not.toBe(folders[1])
  await sweepDeadWorkspaces(base)
  expect(folders.map((folder) => existsSync(folder))).toEqual([false, false])
})

test.each([
  ['network', ['unshare', '--net']],
  ['PID', ['unshare', '--pid', '--fork', '--mount-proc']],
])('a sweep in a container with its own %s namespace leaves a live run alone', async (_, container) => {
  const base = ownTmpdir()
  const workspace = await openWorkspace(base)
  const sweep = await runApart(`await sweepDeadWorkspaces(${JSON.stringify(base)})`, container)
  expect(sweep.exitCode).toBe(0)
  expect(existsSync(workspace.dir)).toBe(true)
  await workspace.dispose()
  expect(existsSync(workspace.dir)).toBe(false)
})

test('a file that is being written does not prevent the removal of the folder', async () => {
  const base = ownTmpdir()
  for (let round = 0; round < 50; round++) {
    const workspace = await openWorkspace(base)
    const writing = workspace.write('qemu.pid', '1')
    await workspace.dispose()
    await writing
  }
  expect(readdirSync(base)).toEqual([])
})

test('a sweep under another release of Node.js leaves a live run alone, in both directions', async () => {
  const base = ownTmpdir()
  const other = await findOtherNode()
  const workspace = await openWorkspace(base)
  expect((await runApart(`await sweepDeadWorkspaces(${JSON.stringify(base)})`, [], other)).exitCode).toBe(0)
  expect(existsSync(workspace.dir)).toBe(true)
  await workspace.dispose()
  const theirs = runApart(
    `await openWorkspace(${JSON.stringify(base)}); setInterval(() => {}, 1000)`,
    [],
    other,
  )
  await expect.poll(() => readdirSync(base), { timeout: 20_000 }).toHaveLength(1)
  await sweepDeadWorkspaces(base)
  expect(readdirSync(base)).toHaveLength(1)
  theirs.kill('SIGKILL')
  await theirs
  await sweepDeadWorkspaces(base)
  expect(readdirSync(base)).toEqual([])
})

/** Makes the folder of a dead run of this user. */
async function makeDead(base: string): Promise<string> {
  const { stdout } = await runApart(`
    const { dir } = await openWorkspace(${JSON.stringify(base)})
    process.stdout.write(dir, () => process.kill(process.pid, 'SIGKILL'))`)
  return stdout
}

test('a sweep leaves the folder of another user alone, and removes that of the user of `runAs`', async () => {
  const base = ownTmpdir()
  const dir = await makeDead(base)
  chownSync(dir, 12_345, 12_345)
  await sweepDeadWorkspaces(base)
  expect(existsSync(dir)).toBe(true)
  const user = { name: '12345', uid: 12_345, gid: 12_345, hasGroups: false, home: '/', setpriv: 'setpriv' }
  await sweepDeadWorkspaces(base, user)
  expect(existsSync(dir)).toBe(false)
})

test('forty thousand folders of another user hold up a sweep for less than two seconds', async () => {
  const base = ownTmpdir()
  await execa('mount', ['-t', 'tmpfs', 'none', base])
  onTestFinished(async () => void (await execa('umount', ['-l', base])))
  const scope = newRunFolderName().split('.', 1)[0]
  for (let id = 0; id < 40_000; id++) {
    const planted = join(base, `${scope}.${(1_000_000 + id).toString(36)}.1-abcdef`)
    mkdirSync(planted, { mode: 0o700 })
    chownSync(planted, 12_345, 12_345)
  }
  const dir = await makeDead(base)
  const startedAt = performance.now()
  await sweepDeadWorkspaces(base)
  expect(performance.now() - startedAt).toBeLessThan(2000)
  expect(existsSync(dir)).toBe(false)
  expect(readdirSync(base)).toHaveLength(40_000)
})

test('a sweep follows no link in place of a folder, and enters no folder that others can write to', async () => {
  const base = ownTmpdir()
  const dir = await makeDead(base)
  const victim = join(base, 'victim')
  renameSync(dir, victim)
  symlinkSync(victim, dir)
  await sweepDeadWorkspaces(base)
  expect(existsSync(victim)).toBe(true)
  unlinkSync(dir)
  renameSync(victim, dir)
  chmodSync(dir, 0o777)
  await sweepDeadWorkspaces(base)
  expect(existsSync(dir)).toBe(true)
})

test.each(['qemu.pid', 'keeper'])('a FIFO named %s does not block a sweep', async (name) => {
  const base = ownTmpdir()
  const dir = await makeDead(base)
  await execa('mkfifo', [join(dir, name)])
  await sweepDeadWorkspaces(base)
  expect(existsSync(dir)).toBe(false)
})

/** Starts a process with the argument of QEMU that contains the folder of its sockets. */
async function startLookalike(socketDir: string) {
  const program = ['-e', "console.log('up'); setInterval(() => {}, 1000)", '--']
  const child = execa(process.execPath, [...program, `socket,id=qmp,path=${socketDir}/qmp.sock`], {
    reject: false,
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return { child, pid: child.pid as number } // a child is thenable
}

test('a sweep kills the QEMU of a dead run whose sockets are in a folder with a shorter path', async () => {
  const base = join(ownTmpdir(), 'a'.repeat(100))
  mkdirSync(base)
  const { stdout } = await runApart(`
    const { dir, socketDir } = await openWorkspace(${JSON.stringify(base)})
    process.stdout.write(JSON.stringify({ dir, socketDir }), () => process.kill(process.pid, 'SIGKILL'))`)
  const folders = JSON.parse(stdout) as { dir: string; socketDir: string }
  const qemu = await startLookalike(folders.socketDir)
  writeFileSync(join(folders.dir, PID_FILE), formatQemuNote(qemu.pid, folders))
  await sweepDeadWorkspaces(base)
  expect((await qemu.child).signal).toBe('SIGKILL')
  expect([existsSync(folders.dir), existsSync(folders.socketDir)]).toEqual([false, false])
})

test('a `qemu.pid` that names a folder of another run makes the sweep neither kill nor remove anything there', async () => {
  const base = ownTmpdir()
  const [dir, other] = [await makeDead(base), await openWorkspace(ownTmpdir())]
  const qemu = await startLookalike(other.dir)
  writeFileSync(join(dir, PID_FILE), formatQemuNote(qemu.pid, { dir, socketDir: other.dir }))
  await sweepDeadWorkspaces(base)
  expect([existsSync(dir), existsSync(other.dir)]).toEqual([false, true])
  expect(qemu.child.exitCode).toBeNull()
  await other.dispose()
})

test.each<[string, (base: string) => void]>([
  ['that everybody can write to', (base) => chmodSync(base, 0o777)],
  ['of another user', (base) => chownSync(base, 12_345, 12_345)],
])('a folder %s is not swept, because its entries may have been planted', async (_, change) => {
  const base = ownTmpdir()
  const dir = await makeDead(base)
  change(base)
  await sweepDeadWorkspaces(base)
  expect(existsSync(dir)).toBe(true)
})

test('an old folder of another container is removed after a second check, unless it was touched', async () => {
  const base = ownTmpdir()
  const [touched, left] = ['aaaaaaaa', 'bbbbbbbb'].map((scope) =>
    join(base, `withvm-${scope}.1.1-abcdef`),
  ) as [string, string]
  const longAgo = new Date(Date.now() - 48 * 60 * 60_000)
  for (const dir of [touched, left]) {
    mkdirSync(dir, { mode: 0o700 })
    utimesSync(dir, longAgo, longAgo)
  }
  const pass = passTime()
  await sweepDeadWorkspaces(base)
  expect(readdirSync(base)).toHaveLength(2)
  utimesSync(touched, new Date(), longAgo.getTime() / 1000 + 15)
  pass(41_000)
  // The clock is stopped: the second check takes several turns of the event loop.
  const endsAt = Date.now() + 10_000
  while (readdirSync(base).length > 1 && Date.now() < endsAt)
    await new Promise((resolve) => setImmediate(resolve))
  expect(readdirSync(base)).toEqual(['withvm-aaaaaaaa.1.1-abcdef'])
})
