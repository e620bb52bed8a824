import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import {
  FOREIGN_CLAIM_MS,
  sweepClaims,
  takeFolderLock,
  tryFolderLock,
} from '../../../../src/common/locks/folder-lock.js'
import { buildCli } from '../../../support/built-cli.js'
import { findOtherNode } from '../../../support/other-node.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { passTime } from '../../../support/pass-time.js'

const MODULE = new URL('../../../../dist/src/common/locks/folder-lock.js', import.meta.url).href

beforeAll(buildCli)

/** Takes the lock 'x' of a folder in another process, which prints the result and holds the lock until it is killed. */
function takeElsewhere(folder: string, command: readonly string[] = [process.execPath]) {
  const source = `
    const { tryFolderLock } = await import('${MODULE}')
    console.log(await tryFolderLock('${folder}', 'x') === undefined ? 'taken' : 'got')
    setInterval(() => {}, 1000)`
  const [file = '', ...args] = [...command, '--input-type=module', '-e', source]
  const holder = execa(file, args, { reject: false })
  const outcome = new Promise<string>((resolve) =>
    holder.stdout.once('data', (data) => resolve(`${data}`.trim())),
  )
  return { holder, outcome }
}

test('a lock is free as soon as its holder was killed', async () => {
  const folder = ownTmpdir()
  const { holder, outcome } = takeElsewhere(folder)
  expect(await outcome).toBe('got')
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  holder.kill('SIGKILL')
  await holder
  const lock = await tryFolderLock(folder, 'x')
  expect(lock).toBeDefined()
  await lock?.release()
  expect(readdirSync(folder)).toEqual([])
})

test('a lock of a process that was stopped stays taken', async () => {
  const folder = ownTmpdir()
  const { holder, outcome } = takeElsewhere(folder)
  expect(await outcome).toBe('got')
  holder.kill('SIGSTOP')
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  holder.kill('SIGKILL')
})

test('processes of two releases of Node.js exclude each other, in both directions', async () => {
  const folder = ownTmpdir()
  const other = await findOtherNode()
  expect((await execa(other, ['-p', 'process.version'])).stdout).not.toBe(process.version)
  const theirs = takeElsewhere(folder, [other])
  expect(await theirs.outcome).toBe('got')
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  theirs.holder.kill('SIGKILL')
  await theirs.holder
  const lock = await tryFolderLock(folder, 'x')
  expect(lock).toBeDefined()
  const second = takeElsewhere(folder, [other])
  expect(await second.outcome).toBe('taken')
  second.holder.kill('SIGKILL')
  await lock?.release()
})

test('only one of many processes holds the lock at a time, and each gets it', async () => {
  const folder = ownTmpdir()
  const counter = join(ownTmpdir(), 'counter')
  writeFileSync(counter, '0')
  const source = `
    import { readFileSync, writeFileSync } from 'node:fs'
    const { takeFolderLock } = await import('${MODULE}')
    for (let turn = 0; turn < 10; turn++) {
      const lock = await takeFolderLock('${folder}', 'x', { intervalMs: 3 })
      const before = Number(readFileSync('${counter}', 'utf8'))
      await new Promise((resolve) => setImmediate(resolve))
      writeFileSync('${counter}', String(before + 1))
      await lock.release()
    }`
  await Promise.all(
    Array.from({ length: 16 }, () => execa(process.execPath, ['--input-type=module', '-e', source])),
  )
  expect(readFileSync(counter, 'utf8')).toBe('160')
  expect(readdirSync(folder)).toEqual([])
})

test('waiting processes get the lock in order of arrival', async () => {
  const folder = ownTmpdir()
  const first = await takeFolderLock(folder, 'x')
  const order: number[] = []
  const waiting: Promise<void>[] = []
  for (const number of [1, 2, 3]) {
    let holder: string | undefined
    const wait = takeFolderLock(folder, 'x', { intervalMs: 5, onWait: (who) => (holder = who) })
    waiting.push(
      wait.then(async (lock) => {
        order.push(number)
        await lock.release()
      }),
    )
    await expect.poll(() => holder).toBe('local')
  }
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  await first.release()
  await Promise.all(waiting)
  expect(order).toEqual([1, 2, 3])
})

test('a wait that is aborted leaves the queue', async () => {
  const folder = ownTmpdir()
  const first = await takeFolderLock(folder, 'x')
  const giveUp = new AbortController()
  const waiting = takeFolderLock(folder, 'x', { signal: giveUp.signal, intervalMs: 5 })
  giveUp.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await first.release()
  expect(readdirSync(folder)).toEqual([])
})

test('a process that can open no more files considers no other process dead', async () => {
  const folder = ownTmpdir()
  const { holder, outcome } = takeElsewhere(folder)
  expect(await outcome).toBe('got')
  const [, claim = ''] = /~([^~]*)$/.exec(readdirSync(folder)[0] ?? '') ?? []
  const source = `
    import { openSync } from 'node:fs'
    const { livenessOf } = await import('${MODULE.replace('folder-lock', 'process-identity')}')
    livenessOf('${claim}')
    for (;;) try { openSync('/dev/null') } catch { break }
    process.stdout.write(livenessOf('${claim}'))`
  const script = `ulimit -n 200; exec '${process.execPath}' --input-type=module -e "$0"`
  expect((await execa('sh', ['-c', script, source])).stdout).toBe('unknown')
  holder.kill('SIGKILL')
})

test('a process that exits leaves no claim, and claims of killed processes are swept', async () => {
  const folder = ownTmpdir()
  const source = (end: string) => `
    const { takeFolderLock } = await import('${MODULE}')
    for (const name of ['a', 'b']) await takeFolderLock('${folder}', name)
    ${end}`
  const run = (end: string) =>
    execa(process.execPath, ['--input-type=module', '-e', source(end)], { reject: false })
  await run('process.exit(3)')
  expect(readdirSync(folder)).toEqual([])
  await run("process.kill(process.pid, 'SIGKILL')")
  expect(readdirSync(folder)).toHaveLength(2)
  sweepClaims(folder)
  expect(readdirSync(folder)).toEqual([])
})

test('a lock of a worker thread is free when that thread has ended', async () => {
  const folder = ownTmpdir()
  const source = `import('${MODULE}').then(async ({ tryFolderLock }) => {
    await tryFolderLock('${folder}', 'x')
    require('node:worker_threads').parentPort.postMessage('got')
    setInterval(() => {}, 1000)
  })`
  const worker = new Worker(source, { eval: true })
  await new Promise((resolve) => worker.once('message', resolve))
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  await worker.terminate()
  await expect.poll(() => tryFolderLock(folder, 'x')).toBeDefined()
})

test('a lock of another container is taken only when its holder has not touched it for minutes', async () => {
  const folder = ownTmpdir()
  const container = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', process.execPath]
  const { holder, outcome } = takeElsewhere(folder, container)
  expect(await outcome).toBe('got')
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  holder.kill('SIGKILL')
  await holder
  // This process cannot detect that the holder has ended.
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  const [claim = ''] = readdirSync(folder)
  const longAgo = new Date(Date.now() - FOREIGN_CLAIM_MS - 60_000)
  utimesSync(join(folder, claim), longAgo, longAgo)
  // One observation is not enough: directly after a jump of the clock, all claims look abandoned.
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  const holders: string[] = []
  const lock = await takeFolderLock(folder, 'x', { onWait: (who) => holders.push(who) })
  expect(holders).toEqual(['foreign'])
  // That container does not take this lock either.
  const second = takeElsewhere(folder, container)
  expect(await second.outcome).toBe('taken')
  second.holder.kill('SIGKILL')
  await lock.release()
}, 120_000)

/** Makes a claim on the lock 'x' by a process of another host that was last touched an hour ago. */
function leaveForeignClaim(folder: string, file = 'x~1~1~00000000.1.1'): string {
  const path = join(folder, file)
  writeFileSync(path, '')
  const longAgo = new Date(Date.now() - 60 * 60_000)
  utimesSync(path, longAgo, longAgo)
  return path
}

test('a second attempt of the same process takes the lock of a container that left it untouched meanwhile', async () => {
  const pass = passTime()
  const folder = ownTmpdir()
  leaveForeignClaim(folder)
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  pass(30_000)
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  pass(10_000)
  const lock = await tryFolderLock(folder, 'x')
  expect(lock).toBeDefined()
  await lock?.release()
})

test('an old claim of another container is swept after a second check, unless it was touched', async () => {
  const pass = passTime()
  const folder = ownTmpdir()
  const touched = leaveForeignClaim(folder, 'x~1~1~aaaaaaaa.1.1')
  leaveForeignClaim(folder, 'x~2~1~bbbbbbbb.1.1')
  leaveForeignClaim(folder, 'x~x~1~bbbbbbbb.1.1')
  sweepClaims(folder)
  expect(readdirSync(folder)).toHaveLength(3)
  utimesSync(touched, new Date(), new Date(Date.now() - 59 * 60_000))
  pass(41_000)
  expect(readdirSync(folder)).toEqual(['x~1~1~aaaaaaaa.1.1'])
})

test.each(['', 'a~b', 'a/b', 'a\0b', 'a'.repeat(151)])(
  '%j is rejected as the name of a lock',
  async (name) => {
    await expect(tryFolderLock(ownTmpdir(), name)).rejects.toThrow('is not a valid name of a lock')
  },
)

test('an unwritable folder is an error, not a free lock', async () => {
  const file = join(ownTmpdir(), 'file')
  writeFileSync(file, '')
  await expect(tryFolderLock(file, 'x')).rejects.toThrow('ENOTDIR')
})
