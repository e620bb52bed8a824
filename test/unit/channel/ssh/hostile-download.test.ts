import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { SshClient } from '../../../../src/channel/ssh/ssh-client.js'
import { rejection } from '../../../support/messages.js'
import { type ListedFile, startSshServer, type TestSshServer } from '../../../support/ssh-server.js'

const [FILE, FOLDER, LINK] = [0o100644, 0o040755, 0o120777]

let server: TestSshServer
let client: SshClient
let here: string
let guest: string
/** Folder listings that the guest forges. */
let listing: ((folder: string, round: number) => readonly ListedFile[] | undefined) | undefined

beforeAll(async () => {
  const [hostKey, clientKey] = [generateSshKeyPair(), generateSshKeyPair()]
  server = await startSshServer({
    hostKey,
    authorized: [clientKey.publicBlob],
    listing: (folder, round) => listing?.(folder, round),
  })
  const { port } = server
  client = await SshClient.connect({ port, privateKey: clientKey.privateKey, timeoutMs: 5000 })
})
afterAll(async () => {
  client.close()
  await server.close()
})
beforeEach(() => {
  listing = undefined
  here = mkdtempSync(join(tmpdir(), 'withvm-here-'))
  guest = mkdtempSync(join(tmpdir(), 'withvm-guest-'))
  mkdirSync(join(guest, 'tree'))
  mkdirSync(join(here, 'into'))
  writeFileSync(join(here, 'precious'), 'of the host')
})
afterEach(() => {
  expect(readFileSync(join(here, 'precious'), 'utf8')).toBe('of the host')
  rmSync(here, { recursive: true })
  rmSync(guest, { recursive: true })
})

test.each(['../precious', '/etc/passwd', 'a/../../precious', '', 'a\0b'])(
  'the file name %j ends a download, and nothing is written',
  async (name) => {
    listing = (_folder, round) => (round > 0 ? undefined : [{ name, mode: FILE }])
    const error = await rejection(client.download(join(guest, 'tree'), join(here, 'into')))
    expect(error).toMatchObject({ code: 'TRANSFER_FAILED', kind: 'guest' })
    expect(error.message).toContain(`The download failed: ${JSON.stringify(name).replaceAll('\\', '\\')}`)
    expect(error.message).toContain('is not a valid file name')
    expect(readdirSync(join(here, 'into'))).toEqual([])
  },
)

test('a download does not write through a link with the name of the file', async () => {
  symlinkSync(join(here, 'precious'), join(guest, 'tree', 'x'))
  const lie: ListedFile[] = [
    { name: 'x', mode: LINK },
    { name: 'y', mode: FILE },
  ]
  writeFileSync(join(guest, 'tree', 'y'), 'of the guest')
  listing = (_folder, round) => (round > 0 ? undefined : [...lie, { name: 'x', mode: FILE }])
  await client.download(join(guest, 'tree'), join(here, 'into')).catch(() => {})
  expect(lstatSync(join(here, 'into/tree')).isDirectory()).toBe(true)
})

test('a link from an earlier download is replaced, not followed', async () => {
  const outside = join(here, 'outside')
  mkdirSync(outside)
  symlinkSync(join(here, 'precious'), join(guest, 'tree', 'file'))
  symlinkSync(outside, join(guest, 'tree', 'folder'))
  symlinkSync(join(here, 'not-there-yet'), join(guest, 'tree', 'dangling'))
  const download = () => client.download(join(guest, 'tree'), join(here, 'into'))
  await download()
  expect(readlinkSync(join(here, 'into/tree/folder'))).toBe(outside)

  for (const name of ['file', 'folder', 'dangling']) rmSync(join(guest, 'tree', name))
  mkdirSync(join(guest, 'tree', 'folder'))
  for (const name of ['file', 'folder/inner', 'dangling'])
    writeFileSync(join(guest, 'tree', name), 'of the guest')
  await download()
  for (const name of ['file', 'folder/inner', 'dangling'])
    expect(readFileSync(join(here, 'into/tree', name), 'utf8')).toBe('of the guest')
  expect(readdirSync(outside)).toEqual([])
  expect(existsSync(join(here, 'not-there-yet'))).toBe(false)
})

test('a download of a single file or a folder does not follow a link with its name', async () => {
  mkdirSync(join(here, 'outside'))
  symlinkSync(join(here, 'precious'), join(here, 'into', 'one'))
  symlinkSync(join(here, 'outside'), join(here, 'into', 'tree'))
  writeFileSync(join(guest, 'one'), 'of the guest')
  writeFileSync(join(guest, 'tree', 'inner'), 'of the guest')
  await client.download(join(guest, 'one'), join(here, 'into'))
  await client.download(join(guest, 'tree'), join(here, 'into'))
  expect(readFileSync(join(here, 'into/one'), 'utf8')).toBe('of the guest')
  expect(readFileSync(join(here, 'into/tree/inner'), 'utf8')).toBe('of the guest')
  expect(readdirSync(join(here, 'outside'))).toEqual([])
})

test('a link that replaces a folder during a download is not followed', async () => {
  const outside = join(here, 'outside')
  const folder = join(here, 'into/tree/folder')
  mkdirSync(outside)
  mkdirSync(join(guest, 'tree', 'folder', 'deep'), { recursive: true })
  for (let index = 0; index < 200; index++)
    writeFileSync(join(guest, 'tree', 'folder', 'deep', `file-${index}`), 'of the guest')
  const failure = rejection(client.download(join(guest, 'tree'), join(here, 'into')))
  // As a concurrent download may do.
  while (!existsSync(join(folder, 'deep'))) await new Promise((resolve) => setImmediate(resolve))
  mkdirSync(join(outside, 'deep'))
  renameSync(folder, join(here, 'before'))
  symlinkSync(outside, folder)
  const error = await failure
  expect(error).toMatchObject({ code: 'TRANSFER_FAILED' })
  expect(error.message).not.toContain('/proc/')
  expect(readdirSync(join(outside, 'deep'))).toEqual([])
})

test('a download of an endless folder stops at the limit, which the error names', async () => {
  listing = (_folder, round) =>
    Array.from({ length: 200 }, (_, index) => ({ name: `f${round}-${index}`, mode: FILE }))
  const error = await rejection(client.download(join(guest, 'tree'), join(here, 'into')))
  expect(error.message).toMatch(/^The download failed: more than 100000 files\.\n/)
  expect(error.message).toContain('raise `maxFiles`.')
  expect(readdirSync(join(here, 'into'))).toEqual([])
})

test.each([[['.']], [['..']], [[]]])(
  'a download stops at a folder listing that repeats the entries %j without end',
  async (names) => {
    listing = () => names.map((name) => ({ name, mode: FOLDER }))
    const error = await rejection(client.download(join(guest, 'tree'), join(here, 'into')))
    expect(error.message).toMatch(/^The download failed: an endless folder listing without files\.\n/)
  },
)

test('a download accepts the entries `.` and `..` in parts of their own', async () => {
  writeFileSync(join(guest, 'tree', 'file'), 'of the guest')
  const parts = ['.', '..', 'file']
  listing = (_folder, round) =>
    parts[round] === undefined ? undefined : [{ name: parts[round], mode: FILE }]
  await client.download(join(guest, 'tree'), join(here, 'into'))
  expect(readdirSync(join(here, 'into/tree'))).toEqual(['file'])
})

test('a download of endlessly nested folders stops at the longest path', async () => {
  listing = (_folder, round) => (round > 0 ? [] : [{ name: 'deeper', mode: FOLDER }])
  const error = await rejection(client.download(join(guest, 'tree'), join(here, 'into')))
  expect(error.message).toMatch(/^The download failed: a path of 4\d\d\d characters\.\n/)
})

test('a file that reports a size above the limit is not downloaded', async () => {
  writeFileSync(join(guest, 'tree', 'hole'), '')
  truncateSync(join(guest, 'tree', 'hole'), 2 ** 40)
  const error = await rejection(client.download(join(guest, 'tree'), join(here, 'into')))
  expect(error.message).toMatch(/^The download failed: 1099511627776 bytes\.\n/)
  expect(error.message).toContain('raise `maxBytes`')
  expect(readdirSync(join(here, 'into'))).toEqual([])
})

test('a download of a file that exceeds its reported size stops at the limit', async () => {
  writeFileSync(join(guest, 'tree', 'grows'), 'x'.repeat(200_000))
  listing = (_folder, round) => (round > 0 ? undefined : [{ name: 'grows', mode: FILE, size: 10 }])
  const limited = client.download(join(guest, 'tree'), join(here, 'into'), { maxBytes: 100_000 })
  expect((await rejection(limited)).message).toMatch(/^The download failed: more than 100000 bytes\.\n/)
  listing = undefined
  await client.download(join(guest, 'tree'), join(here, 'into'), { maxBytes: 200_000 })
})

test('an invalid limit of a download is rejected', async () => {
  const error = await rejection(client.download(guest, join(here, 'into'), { maxBytes: -1 }))
  expect(error).toMatchObject({ code: 'INVALID_OPTIONS' })
  expect(error.message).toContain('The option `maxBytes` of a download is invalid.')
})

test.each(['tree/.', 'tree/../tree/.'])(
  'the content of %s is copied into a folder, whose mode stays',
  async (path) => {
    writeFileSync(join(guest, 'tree/file'), 'content')
    chmodSync(join(guest, 'tree'), 0o777)
    chmodSync(join(here, 'into'), 0o755)
    await client.download(`${guest}/${path}`, join(here, 'into'))
    expect(readFileSync(join(here, 'into/file'), 'utf8')).toBe('content')
    expect(statSync(join(here, 'into')).mode & 0o777).toBe(0o755)
  },
)

test('a path that ends with `..` is not copied, because its name leads out of the target', async () => {
  mkdirSync(join(guest, 'tree/below'))
  const error = await rejection(client.download(`${guest}/tree/below/..`, join(here, 'into')))
  expect(error.message).toContain("the path ends with '..'")
  expect(readdirSync(here).sort()).toEqual(['into', 'precious'])
})
