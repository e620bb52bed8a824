import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { FOREIGN_CLAIM_MS, tryFolderLock } from '../../../../src/common/locks/folder-lock.js'
import { buildCli } from '../../../support/built-cli.js'
import { findOtherNode } from '../../../support/other-node.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const MODULE = new URL('../../../../dist/src/common/locks/folder-lock.js', import.meta.url).href

beforeAll(buildCli)

/** Another process that takes the lock 'x' of a folder, prints whether it got it, and keeps it until it is killed. */
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

test('of processes that try at the same time one at a time has the lock', async () => {
  const folder = ownTmpdir()
  const counter = join(ownTmpdir(), 'counter')
  writeFileSync(counter, '0')
  const source = `
    import { readFileSync, writeFileSync } from 'node:fs'
    const { tryFolderLock } = await import('${MODULE}')
    for (let done = 0; done < 40; ) {
      const lock = await tryFolderLock('${folder}', 'x')
      if (lock === undefined) { await new Promise((resolve) => setImmediate(resolve)); continue }
      const before = Number(readFileSync('${counter}', 'utf8'))
      await new Promise((resolve) => setImmediate(resolve))
      writeFileSync('${counter}', String(before + 1))
      await lock.release()
      done++
    }`
  await Promise.all([1, 2, 3, 4].map(() => execa(process.execPath, ['--input-type=module', '-e', source])))
  expect(readFileSync(counter, 'utf8')).toBe('160')
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
  // It cannot be seen from here that its process has ended.
  expect(await tryFolderLock(folder, 'x')).toBeUndefined()
  const [claim = ''] = readdirSync(folder)
  const longAgo = new Date(Date.now() - FOREIGN_CLAIM_MS - 60_000)
  utimesSync(join(folder, claim), longAgo, longAgo)
  const lock = await tryFolderLock(folder, 'x')
  expect(lock).toBeDefined()
  // Nor does that container take ours.
  const second = takeElsewhere(folder, container)
  expect(await second.outcome).toBe('taken')
  second.holder.kill('SIGKILL')
  await lock?.release()
})

test('a folder that nothing can be created in is an error, and no lock', async () => {
  const file = join(ownTmpdir(), 'file')
  writeFileSync(file, '')
  await expect(tryFolderLock(file, 'x')).rejects.toThrow('ENOTDIR')
})
