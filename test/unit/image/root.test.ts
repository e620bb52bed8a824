import { execFileSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findOciManifest } from '../../../src/archive/oci-layout.js'
import { importFile, importOciLayout } from '../../../src/image/import-file.js'
import { makeRootDisk, readFolder } from '../../../src/image/root-image.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { queryDisk, tarOf, writeFiles, writeOciLayout } from '../../support/root-files.js'

const report = () => {}
const INIT = { 'sbin/init': '#!/bin/sh\n' }

/** Imports an archive. Returns the path of the resulting disk. */
async function importArchive(path: string): Promise<string> {
  const dir = ownTmpdir()
  await importFile({ path, name: 'root.tar', dir, isTemporary: false, report })
  expect(readdirSync(dir).sort()).toEqual(['disk', 'root.json'])
  return join(dir, 'disk')
}

/** Makes an archive with the given members, unchanged. */
function rawTar(...members: { path: string; flag?: string; target?: string; content?: string }[]): Buffer {
  const blocks = members.map(({ path, flag = '0', target = '', content = '' }) => {
    const header = Buffer.alloc(512)
    header.write(path, 0)
    header.write('0000755\0', 100)
    header.write('0000000\0', 108)
    header.write('0000000\0', 116)
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
    header.write(flag, 156)
    header.write(target, 157)
    header.write('ustar\x0000', 257, 'latin1')
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    const padded = Buffer.alloc(Math.ceil(content.length / 512) * 512)
    padded.write(content)
    return Buffer.concat([header, padded])
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

test('a tarball becomes a disk with its owners, modes, links and unusual names', async () => {
  const root = writeFiles(ownTmpdir(), {
    ...INIT,
    'usr/bin/su': '#!/bin/sh\n',
    'etc/shadow': 'secret',
    'home/me/a "quoted" name': 'here',
    [`${'long/'.repeat(40)}name`]: 'deep',
  })
  execFileSync('chmod', ['4755', join(root, 'usr/bin/su')])
  execFileSync('chmod', ['0', join(root, 'etc/shadow')])
  symlinkSync('/etc/shadow', join(root, 'etc/link'))
  linkSync(join(root, 'sbin/init'), join(root, 'sbin/other'))
  const archive = tarOf(root, join(ownTmpdir(), 'root.tar'), '--owner=1000', '--group=2000')
  const output = queryDisk(
    await importArchive(archive),
    'stat /usr/bin/su',
    'stat /etc/shadow',
    'stat /etc/link',
    'stat /sbin/other',
    'cat "/home/me/a ""quoted"" name"',
    `cat /${'long/'.repeat(40)}name`,
    'ls -l /',
  )
  expect(output).toMatch(/Mode: {2}04755[\s\S]*User: {2}1000 {3}Group: {2}2000/)
  expect(output).toMatch(/Mode: {2}0000[\s\S]*User: {2}1000/)
  expect(output).toContain('Fast link dest: "/etc/shadow"')
  expect(output).toMatch(/Links: 2/)
  expect(output).toContain('here')
  expect(output).toContain('deep')
  for (const folder of ['proc', 'sys', 'dev', 'run', 'tmp'])
    expect(output).toMatch(new RegExp(` ${folder}$`, 'm'))
})

test('a folder becomes a disk and is not modified', async () => {
  const root = writeFiles(ownTmpdir(), { 'usr/sbin/init': '#!/bin/sh\n', 'etc/hostname': 'demo\n' })
  symlinkSync('usr/sbin', join(root, 'sbin'))
  const before = await readFolder(root)
  const dir = ownTmpdir()
  await makeRootDisk({ name: root, source: root, content: before, command: undefined, dir })
  expect(queryDisk(join(dir, 'disk'), 'cat /etc/hostname', 'stat /usr/sbin/init')).toMatch(
    /demo[\s\S]*Mode: {2}0755/,
  )
  expect(await readFolder(root)).toMatchObject({ fingerprint: before.fingerprint })
  writeFileSync(join(root, 'etc/hostname'), 'other\n')
  expect((await readFolder(root)).fingerprint).not.toBe(before.fingerprint)
})

test('a root file system without /sbin/init starts the first fallback of Linux', async () => {
  const root = writeFiles(ownTmpdir(), { 'usr/bin/sh': '#!/bin/true\n' })
  symlinkSync('usr/bin', join(root, 'bin'))
  const disk = await importArchive(tarOf(root, join(ownTmpdir(), 'root.tar')))
  expect(JSON.parse(readFileSync(join(disk, '..', 'root.json'), 'utf8'))).toEqual({ starts: ['/bin/sh'] })
  expect(queryDisk(disk, 'stat /sbin/init')).toMatch(/Mode: {2}0755/)
})

test.each([
  ['leads out of the root', { path: '../escaped' }, 'a member that leads out of it, ../escaped'],
  ['has the end of a line in its name', { path: 'a\nwrite /etc/passwd x' }, 'control characters in its name'],
  ['is a hard link to nothing', { path: 'link', flag: '1', target: 'nowhere' }, 'a link to nowhere'],
])('a tarball with a member that %s is rejected', async (_, member, got) => {
  const path = join(ownTmpdir(), 'root.tar')
  writeFileSync(path, rawTar({ path: 'sbin/init' }, member))
  const error = await failureOf(importArchive(path))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain(got)
})

test('links in an archive cannot leave the root, and circular links are rejected', async () => {
  const outside = ownTmpdir()
  const path = join(ownTmpdir(), 'root.tar')
  writeFileSync(
    path,
    rawTar(
      { path: 'sbin/init' },
      { path: 'way', flag: '2', target: outside },
      { path: 'way/file', content: 'inside' },
      { path: 'up', flag: '2', target: '../../../../etc' },
      { path: 'up/note', content: 'in etc' },
    ),
  )
  const output = queryDisk(await importArchive(path), `cat ${outside}/file`, 'cat /etc/note')
  expect(output).toMatch(/inside[\s\S]*in etc/)
  expect(existsSync(join(outside, 'file'))).toBe(false)
  const round = [
    { path: 'a', flag: '2', target: 'b' },
    { path: 'b', flag: '2', target: 'a' },
    { path: 'a/file' },
  ]
  writeFileSync(path, rawTar({ path: 'sbin/init' }, ...round))
  expect((await failureOf(importArchive(path))).message).toContain('circular or too many links in its path')
})

test('a truncated tarball is rejected', async () => {
  const root = writeFiles(ownTmpdir(), { ...INIT, 'var/big': 'x'.repeat(100_000) })
  const path = tarOf(root, join(ownTmpdir(), 'root.tar'))
  truncateSync(path, 50_000)
  expect((await failureOf(importArchive(path))).message).toContain('a member that ends after byte 50000')
})

test('the layers of an OCI image are merged, and its command is started', async () => {
  const lower = rawTar(
    { path: 'bin/run', content: '#!/bin/sh' },
    { path: 'etc/gone', content: 'old' },
    { path: 'data/one', content: 'old' },
    { path: 'data/two', content: 'old' },
    { path: 'lib', flag: '2', target: 'usr/lib' },
  )
  const upper = rawTar(
    { path: 'etc/.wh.gone' },
    { path: 'data/.wh..wh..opq' },
    { path: 'data/three', content: 'new' },
    { path: 'lib/here', content: 'merged' },
  )
  const config = { Entrypoint: ['run'], Cmd: ['--fast'], Env: ['PATH=/bin', 'A=b'], WorkingDir: '/data' }
  const layout = writeOciLayout(ownTmpdir(), [lower, upper], config)
  const dir = ownTmpdir()
  await importOciLayout({ layout, name: 'oci', manifest: await findOciManifest(layout), dir, report })
  expect(readdirSync(dir).sort()).toEqual(['disk', 'root.json'])
  const output = queryDisk(
    join(dir, 'disk'),
    'ls -p /etc',
    'ls -p /data',
    'cat /usr/lib/here',
    'cat /sbin/init',
  )
  expect(output).not.toContain('gone')
  expect(output).not.toMatch(/one|two/)
  expect(output).toMatch(/three[\s\S]*merged/)
  expect(output).toContain('--fast')
  // The same, packed into one file.
  const disk = await importArchive(tarOf(layout, join(ownTmpdir(), 'oci.tar')))
  expect(queryDisk(disk, 'cat /data/three')).toContain('new')
})

test('members of a layer that remove files apply to their own folder, also if `.wh.` is in a name', async () => {
  const lower = rawTar(
    { path: 'bin/run', content: '#!/bin/sh' },
    { path: 'a/kept', content: 'old' },
    { path: 'a.wh.b/c/gone', content: 'old' },
    { path: 'a.wh.b/x.wh.y', content: 'old' },
    { path: 'a.wh.b/kept', content: 'old' },
  )
  const upper = rawTar({ path: 'a.wh.b/c/.wh..wh..opq' }, { path: 'a.wh.b/.wh.x.wh.y' })
  const layout = writeOciLayout(ownTmpdir(), [lower, upper], { Cmd: ['/bin/run'] })
  const dir = ownTmpdir()
  await importOciLayout({ layout, name: 'oci', manifest: await findOciManifest(layout), dir, report })
  const list = (path: string) => queryDisk(join(dir, 'disk'), `ls -p ${path}`)
  expect(list('/a')).toContain('/kept/')
  expect(list('/a.wh.b')).toContain('/kept/')
  expect(list('/a.wh.b')).not.toContain('x.wh.y')
  expect(list('/a.wh.b/c')).not.toContain('gone')
})

test('an OCI image with a damaged layer, without its command or for another architecture is rejected', async () => {
  const layer = rawTar({ path: 'bin/run', content: '#!/bin/sh' })
  const importLayout = async (layout: string) =>
    importOciLayout({
      layout,
      name: layout,
      manifest: await findOciManifest(layout),
      dir: ownTmpdir(),
      report,
    })
  const withoutProgram = writeOciLayout(ownTmpdir(), [layer], { Cmd: ['serve'] })
  expect((await failureOf(importLayout(withoutProgram))).message).toContain('does not contain serve')
  const damaged = writeOciLayout(ownTmpdir(), [layer], { Cmd: ['/bin/run'] })
  for (const blob of readdirSync(join(damaged, 'blobs/sha256'))) {
    const path = join(damaged, 'blobs/sha256', blob)
    const content = readFileSync(path)
    if (content[0] === 0x1f) writeFileSync(path, content.fill(0, 20))
  }
  expect((await failureOf(importLayout(damaged))).message).toMatch(/Expected: a layer sha256:/)
  const foreign = writeOciLayout(ownTmpdir(), [layer], {})
  const index = JSON.parse(readFileSync(join(foreign, 'index.json'), 'utf8'))
  const platforms = ['arm64', 's390x'].map((architecture) => ({ os: 'linux', architecture }))
  index.manifests = platforms.map((platform) => ({ ...index.manifests[0], platform }))
  writeFileSync(join(foreign, 'index.json'), JSON.stringify(index))
  expect((await failureOf(importLayout(foreign))).message).toContain('Got:      linux/arm64, linux/s390x')
})
