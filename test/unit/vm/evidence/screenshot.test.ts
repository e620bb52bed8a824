import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { QmpClient } from '../../../../src/channel/qmp/qmp-client.js'
import { listenUnix } from '../../../../src/channel/unix-listener.js'
import { OpenFolder } from '../../../../src/common/files/open-folder.js'
import { dumpMemory, type FileIn, readScreenshot } from '../../../../src/vm/evidence/screenshot.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 }, package: '' }, capabilities: [] },
}

/** Simulates a compromised QEMU: it calls `write` for each command and reports success. */
async function connectPeer(write: (command: string, args: { filename?: string; protocol?: string }) => void) {
  const listener = await listenUnix(join(ownTmpdir(), 'qmp'))
  const peer = connect(listener.path)
  peer.on('error', () => {})
  const send = (message: object) => peer.write(`${JSON.stringify(message)}\r\n`)
  send(GREETING)
  createInterface({ input: peer }).on('line', (line) => {
    const { execute, id, arguments: args = {} } = JSON.parse(line)
    write(execute, args)
    send({ return: {}, id })
  })
  onTestFinished(async () => {
    peer.destroy()
    await listener.close()
  })
  return QmpClient.negotiate(await listener.accept({ timeoutMs: 10_000 }), { timeoutMs: 10_000 })
}

async function fileAt(path: string): Promise<FileIn> {
  const folder = await OpenFolder.make(dirname(path))
  onTestFinished(() => folder.close())
  return { folder, name: basename(path) }
}

test.each([
  ['a link', (path: string, secret: string) => symlinkSync(secret, path)],
  ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
])('%s that QEMU puts in place of a screenshot is neither followed nor opened', async (_, make) => {
  const dir = ownTmpdir()
  const secret = join(dir, 'secret')
  writeFileSync(secret, 'of root')
  const path = join(dir, 'screen.png')
  const qmp = await connectPeer((command, { filename }) => {
    if (command === 'screendump') make(filename as string, secret)
  })
  await expect(readScreenshot(qmp, await fileAt(path), 1)).rejects.toThrow(path)
  expect(existsSync(path)).toBe(false)
})

test('the mode of a file to which a link in place of a memory dump leads stays as it is', async () => {
  const dir = ownTmpdir()
  const other = join(dir, 'other')
  writeFileSync(other, '')
  chmodSync(other, 0o640)
  const path = join(dir, 'memory.elf')
  const qmp = await connectPeer((command, { protocol }) => {
    if (command !== 'dump-guest-memory') return
    rmSync(path, { force: true })
    symlinkSync(other, (protocol as string).slice('file:'.length))
  })
  await dumpMemory(qmp, await fileAt(path), 1024)
  expect(statSync(other).mode & 0o777).toBe(0o640)
  expect(existsSync(path)).toBe(false)
})
