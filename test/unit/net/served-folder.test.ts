import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { FileServer } from '../../../src/net/file-server.js'
import { findLinksOutside, ServedFolder } from '../../../src/net/served-folder.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

function makeTree(files: Readonly<Record<string, string>>): string {
  const root = ownTmpdir()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true })
    writeFileSync(join(root, name), text)
  }
  return root
}

test('several trees and files are merged into one folder, in which later ones override earlier ones', async () => {
  const loader = makeTree({ 'pxelinux.0': 'loader', 'cfg/default': 'its own', 'sub/deep/file': 'deep' })
  symlinkSync('sub/deep', join(loader, 'link'))
  const own = makeTree({ 'cfg/default': 'of the author', linux: 'kernel' })
  const folder = await makeServedFolder([loader, own])
  await folder.put('/made/here', 'text')
  await folder.put('linux', { path: join(own, 'cfg/default') })
  await folder.put('made/here', Buffer.from('bytes'))
  expect(folder.names).toEqual([
    'cfg/default',
    'link/file',
    'linux',
    'made/here',
    'pxelinux.0',
    'sub/deep/file',
  ])
  const read = (name: string) => readFileSync(join(folder.dir, name), 'utf8')
  expect(folder.names.map(read)).toEqual([
    'of the author',
    'deep',
    'of the author',
    'bytes',
    'loader',
    'deep',
  ])
  expect(readFileSync(join(own, 'linux'), 'utf8')).toBe('kernel')
})

test('an added file is readable by the user of QEMU, regardless of the umask', async () => {
  const umask = process.umask(0o077)
  onTestFinished(() => void process.umask(umask))
  const folder = await makeServedFolder([])
  await folder.put('menu', 'text')
  expect(statSync(join(folder.dir, 'menu')).mode & 0o777).toBe(0o644)
})

/** Serves a folder over HTTP on a unix socket and returns a function that requests a file. */
async function serve(folder: ServedFolder) {
  const socket = join(ownTmpdir(), 'http.sock')
  const server = await FileServer.listen({
    socket,
    find: (path) => folder.find(path),
    onRequest: () => {},
    onEnd: () => {},
  })
  onTestFinished(() => server.close())
  return (path: string) =>
    new Promise<string>((resolve, reject) => {
      request({ socketPath: socket, path, agent: false }, (response) => {
        let text = `${response.statusCode} `
        response.on('data', (chunk) => {
          text += chunk
        })
        response.on('end', () => resolve(text)).on('error', reject)
      })
        .on('error', reject)
        .end()
    })
}

async function makeServedFolder(trees: readonly string[] = []): Promise<ServedFolder> {
  const folder = await ServedFolder.join(join(ownTmpdir(), 'served'), trees)
  onTestFinished(() => folder.close())
  return folder
}

test('links that QEMU creates in the served folder are not served over HTTP', async () => {
  const outside = makeTree({ secret: 'of root' })
  const own = makeTree({ linux: 'kernel' })
  const folder = await makeServedFolder([own])
  await folder.put('boot.ipxe', 'script')
  const get = await serve(folder)
  for (const name of ['boot.ipxe', 'linux', 'new']) {
    rmSync(join(folder.dir, name), { force: true })
    symlinkSync(join(outside, 'secret'), join(folder.dir, name))
  }
  expect(await get('/boot.ipxe')).toBe('200 script')
  expect(await get('/linux')).toBe('200 kernel')
  expect(await get('/new')).toBe('404 ')
  expect(await folder.findChange('boot.ipxe')).toBeUndefined()
})

test('a served file is not written through a link that replaces its folder', async () => {
  const outside = makeTree({ 'sub/there': '' })
  const folder = await makeServedFolder()
  await folder.put('sub/made', 'first')
  rmSync(join(folder.dir, 'sub'), { recursive: true })
  symlinkSync(join(outside, 'sub'), join(folder.dir, 'sub'))
  await expect(folder.put('sub/made', 'second')).rejects.toThrow(`'${join(folder.dir, 'sub/made')}'`)
  renameSync(folder.dir, `${folder.dir}-moved`)
  symlinkSync(outside, folder.dir)
  await folder.put('made', 'third')
  await folder.put('linked', { path: join(outside, 'sub/there') })
  expect(readdirSync(outside, { recursive: true }).sort()).toEqual(['sub', 'sub/there'])
  expect(existsSync(join(`${folder.dir}-moved`, 'made'))).toBe(true)
})

test('a folder that is served unchanged includes files added later and none from outside', async () => {
  const root = makeTree({ a: 'first' })
  const folder = await ServedFolder.of(root)
  writeFileSync(join(root, 'later'), 'second')
  symlinkSync('/etc/passwd', join(root, 'out'))
  expect(await folder.find('/a')).toEqual({ path: join(root, 'a') })
  expect(await folder.find('later')).toEqual({ path: join(root, 'later') })
  expect(await folder.find('out')).toBeUndefined()
  expect(await folder.find('../etc/passwd')).toBeUndefined()
  expect(await folder.find('absent')).toBeUndefined()
})

test('links that lead out of a folder are reported', async () => {
  const root = makeTree({ 'sub/file': '' })
  symlinkSync('file', join(root, 'sub/inside'))
  symlinkSync('/etc/hostname', join(root, 'sub/outside'))
  symlinkSync('..', join(root, 'up'))
  symlinkSync('nowhere', join(root, 'dangling'))
  expect(await findLinksOutside(root)).toEqual([
    expect.stringMatching(/^sub\/outside -> \/etc\/hostname$/),
    expect.stringMatching(/^up -> /),
  ])
})

test('changes of a served file are reported', async () => {
  const root = makeTree({ a: 'text', b: 'text', c: 'text' })
  const folder = await ServedFolder.of(root)
  expect(await folder.findChange('a')).toBeUndefined()
  writeFileSync(join(root, 'a'), 'longer text')
  rmSync(join(root, 'b'))
  rmSync(join(root, 'c'))
  writeFileSync(join(root, 'other'), '')
  writeFileSync(join(root, 'c'), 'TEXT')
  expect(await folder.findChange('/a')).toBe('its size changed from 4 to 11 bytes')
  expect(await folder.findChange('b')).toBe('it was removed')
  expect(await folder.findChange('c')).toBe('it was modified or replaced')
  expect(await folder.findChange('unknown')).toBeUndefined()
})
