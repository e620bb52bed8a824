import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
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

test('several trees and files become one folder, in which the later ones win', async () => {
  const loader = makeTree({ 'pxelinux.0': 'loader', 'cfg/default': 'its own', 'sub/deep/file': 'deep' })
  symlinkSync('sub/deep', join(loader, 'link'))
  const own = makeTree({ 'cfg/default': 'of the author', linux: 'kernel' })
  const folder = await ServedFolder.join(join(ownTmpdir(), 'served'), [loader, own])
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

test('a folder that is served as it is has also what is put there later, and nothing from outside', async () => {
  const root = makeTree({ a: 'first' })
  const folder = await ServedFolder.of(root)
  writeFileSync(join(root, 'later'), 'second')
  symlinkSync('/etc/passwd', join(root, 'out'))
  expect(await folder.find('/a')).toBe(join(root, 'a'))
  expect(await folder.find('later')).toBe(join(root, 'later'))
  expect(await folder.find('out')).toBeUndefined()
  expect(await folder.find('../etc/passwd')).toBeUndefined()
  expect(await folder.find('absent')).toBeUndefined()
})

test('links are told that lead out of a folder', async () => {
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

test('what becomes of a file is told', async () => {
  const root = makeTree({ a: 'text', b: 'text', c: 'text' })
  const folder = await ServedFolder.of(root)
  expect(await folder.findChange('a')).toBeUndefined()
  writeFileSync(join(root, 'a'), 'longer text')
  rmSync(join(root, 'b'))
  rmSync(join(root, 'c'))
  writeFileSync(join(root, 'other'), '')
  writeFileSync(join(root, 'c'), 'TEXT')
  expect(await folder.findChange('/a')).toBe('it had 4 bytes, and has 11 now')
  expect(await folder.findChange('b')).toBe('it was removed')
  expect(await folder.findChange('c')).toBe('it was written to, or replaced')
  expect(await folder.findChange('unknown')).toBeUndefined()
})
