import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { SshClient } from '../../../../src/channel/ssh/ssh-client.js'
import { startSshServer, type TestSshServer } from '../../../support/ssh-server.js'

let server: TestSshServer
let client: SshClient
let here: string
let guest: string

beforeAll(async () => {
  const [hostKey, clientKey] = [generateSshKeyPair(), generateSshKeyPair()]
  server = await startSshServer({ hostKey, authorized: [clientKey.publicBlob] })
  client = await SshClient.connect({
    port: server.port,
    privateKey: clientKey.privateKey,
    timeoutMs: 5000,
  })
})
afterAll(async () => {
  client.close()
  await server.close()
})
beforeEach(() => {
  here = mkdtempSync(join(tmpdir(), 'withvm-here-'))
  guest = mkdtempSync(join(tmpdir(), 'withvm-guest-'))
})
afterEach(() => {
  rmSync(here, { recursive: true })
  rmSync(guest, { recursive: true })
})

/** Creates a folder with a file of 3 MiB, an empty file, a script, a link, a dangling link and a read-only folder. */
function makeTree(root: string): void {
  mkdirSync(join(root, 'sub/empty'), { recursive: true })
  writeFileSync(join(root, 'big'), randomBytes(3 * 1024 * 1024 + 17))
  writeFileSync(join(root, 'zero'), '')
  writeFileSync(join(root, 'sub/run.sh'), '#!/bin/sh\n')
  chmodSync(join(root, 'sub/run.sh'), 0o750)
  symlinkSync('sub/run.sh', join(root, 'link'))
  symlinkSync('nowhere', join(root, 'dangling'))
  mkdirSync(join(root, 'locked'))
  writeFileSync(join(root, 'locked/file with spaces'), 'x')
  chmodSync(join(root, 'locked'), 0o555)
}

function describeTree(root: string, path = ''): string[] {
  const full = join(root, path)
  const stats = lstatSync(full)
  if (stats.isSymbolicLink()) return [`${path} -> ${readlinkSync(full)}`]
  const mode = (stats.mode & 0o777).toString(8)
  if (stats.isFile()) return [`${path} ${mode} ${readFileSync(full).toString('base64')}`]
  return [`${path}/ ${mode}`, ...readdirSync(full).flatMap((name) => describeTree(root, join(path, name)))]
}

describe('transfer of a folder', () => {
  test('a folder is copied with contents, modes and links in both directions', async () => {
    const source = join(here, 'tree')
    makeTree(source)
    await client.upload(source, `${guest}/new/name`)
    expect(describeTree(join(guest, 'new/name'))).toEqual(describeTree(source))
    await client.download(`${guest}/new/name`, join(here, 'back'))
    expect(describeTree(join(here, 'back'))).toEqual(describeTree(source))
    for (const path of [source, join(guest, 'new/name'), join(here, 'back')])
      chmodSync(join(path, 'locked'), 0o755)
  })

  test('a folder is copied into an existing folder under its own name, and overwrites files', async () => {
    mkdirSync(join(here, 'tree'))
    writeFileSync(join(here, 'tree/file'), 'new')
    mkdirSync(join(guest, 'tree'))
    writeFileSync(join(guest, 'tree/file'), 'older and longer')
    writeFileSync(join(guest, 'tree/other'), 'stays')
    await client.upload(join(here, 'tree'), guest)
    expect(readFileSync(join(guest, 'tree/file'), 'utf8')).toBe('new')
    expect(readFileSync(join(guest, 'tree/other'), 'utf8')).toBe('stays')
  })

  test('a folder of 200 files is copied quickly', async () => {
    mkdirSync(join(here, 'many'))
    for (let index = 0; index < 200; index++) writeFileSync(join(here, 'many', `f${index}`), `${index}`)
    await client.upload(join(here, 'many'), `${guest}/many`)
    expect(readdirSync(join(guest, 'many'))).toHaveLength(200)
    expect(readFileSync(join(guest, 'many/f199'), 'utf8')).toBe('199')
  })
})

describe('transfer of a file', () => {
  test('a file is copied to a new name, or into a folder that exists or ends with a slash', async () => {
    writeFileSync(join(here, 'a'), 'content', { mode: 0o640 })
    await client.upload(join(here, 'a'), `${guest}/b`)
    await client.upload(join(here, 'a'), guest)
    await client.upload(join(here, 'a'), `${guest}/made/`)
    for (const name of ['b', 'a', 'made/a']) {
      expect(readFileSync(join(guest, name), 'utf8')).toBe('content')
      expect(statSync(join(guest, name)).mode & 0o777).toBe(0o640)
    }
    await client.download(`${guest}/b`, join(here, 'parents/made/c'))
    await client.download(`${guest}/b`, `${here}/`)
    expect(readFileSync(join(here, 'parents/made/c'), 'utf8')).toBe('content')
    expect(readFileSync(join(here, 'b'), 'utf8')).toBe('content')
  })

  test('a file that reports a size of 0, as in /proc, is read to its end', async () => {
    await client.download('/proc/version', join(here, 'version'))
    expect(readFileSync(join(here, 'version'), 'utf8')).toMatch(/^Linux version/)
  })
})

describe('failed transfers', () => {
  test('the error of a missing file names both paths and the reason', async () => {
    await expect(client.upload(`${here}/none`, `${guest}/x`)).rejects.toMatchObject({
      code: 'TRANSFER_FAILED',
      message: [
        'The upload failed: no such file or folder.',
        `  Expected: a copy of ${here}/none (host) at ${guest}/x (guest)`,
        '  Got:      no such file',
        'Fix: Check the path: relative paths start at the current folder.',
      ].join('\n'),
    })
    await expect(client.download(`${guest}/none`, `${here}/x`)).rejects.toThrow(
      `The download failed: no such file or folder.\n  Expected: a copy of ${guest}/none (guest) at ${here}/x (host)`,
    )
  })

  test('the error of a folder names the file that cannot be copied', async () => {
    mkdirSync(join(here, 'tree'))
    writeFileSync(join(here, 'tree/file'), 'x')
    mkdirSync(join(guest, 'tree/file'), { recursive: true })
    await expect(client.upload(join(here, 'tree'), guest)).rejects.toThrow(
      `a copy of ${here}/tree/file (host) at ${guest}/tree/file (guest)`,
    )
  })

  test('a target path through a file is reported as such', async () => {
    writeFileSync(join(guest, 'file'), '')
    writeFileSync(join(here, 'a'), '')
    await expect(client.upload(join(here, 'a'), `${guest}/file/below/a`)).rejects.toMatchObject({
      code: 'TRANSFER_FAILED',
    })
  })

  test('devices, pipes and sockets are not copied', async () => {
    await expect(client.upload('/dev/null', `${guest}/x`)).rejects.toThrow(
      'a device, a pipe or a socket cannot be copied, only files, folders and links',
    )
  })

  test('an aborted transfer ends at once', async () => {
    writeFileSync(join(here, 'big'), randomBytes(20_000_000))
    const controller = new AbortController()
    const copying = client.upload(join(here, 'big'), `${guest}/big`, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(copying).rejects.toThrow('enough')
  })

  test('a transfer over a lost connection ends with SSH_CLOSED or TRANSFER_FAILED', async () => {
    const [hostKey, clientKey] = [generateSshKeyPair(), generateSshKeyPair()]
    const other = await startSshServer({ hostKey, authorized: [clientKey.publicBlob] })
    const cut = await SshClient.connect({
      port: other.port,
      privateKey: clientKey.privateKey,
      timeoutMs: 5000,
    })
    writeFileSync(join(here, 'big'), randomBytes(50_000_000))
    const copying = cut.upload(join(here, 'big'), `${guest}/big`)
    setTimeout(() => other.cut(), 30)
    await expect(copying).rejects.toMatchObject({ code: expect.stringMatching(/SSH_CLOSED|TRANSFER_FAILED/) })
    await other.close()
    expect(existsSync(guest)).toBe(true)
  })
})
