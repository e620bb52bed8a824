import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type CpioEntry, packCpio } from '../../src/archive/cpio.js'
import { resolveImage } from '../../src/image/resolve-image.js'
import { ownTmpdir } from './own-tmpdir.js'
import { queryDisk, writeFiles } from './root-files.js'

/** Makes a root file system with the busybox of `tiny` and an optional init. Returns its folder. */
export async function makeBusyboxRoot(init?: string): Promise<string> {
  const { disk } = await resolveImage('tiny')
  const [work, root] = [ownTmpdir(), ownTmpdir()]
  const copy = join(work, 'disk')
  copyFileSync(disk?.path as string, copy)
  mkdirSync(join(root, 'bin'))
  queryDisk(copy, `dump /usr/bin/busybox ${join(root, 'bin/busybox')}`)
  chmodSync(join(root, 'bin/busybox'), 0o755)
  for (const applet of ['sh', 'uname', 'id', 'ls', 'cat', 'stat'])
    symlinkSync('busybox', join(root, 'bin', applet))
  return init === undefined ? root : writeFiles(root, { 'sbin/init': init })
}

/** Makes the same root file system as a raw disk without partitions. */
export async function makeBusyboxDisk(init: string): Promise<string> {
  const root = await makeBusyboxRoot(init)
  for (const folder of ['dev', 'proc', 'sys', 'run', 'tmp']) mkdirSync(join(root, folder))
  const path = join(ownTmpdir(), 'disk.raw')
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', root, path, '24M'], { env })
  return path
}

/** Packs an initrd with the busybox of `tiny`, a shell, and an init. */
export async function packBusyboxInitrd(init: string): Promise<Buffer> {
  const busybox = readFileSync(join(await makeBusyboxRoot(), 'bin/busybox'))
  const entries: CpioEntry[] = [
    ...['bin', 'dev', 'proc'].map((path) => ({ path, mode: 0o040755 })),
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    { path: 'bin/busybox', mode: 0o100755, content: busybox },
    ...['sh', 'cat'].map((name) => ({ path: `bin/${name}`, mode: 0o100755, content: busybox })),
    { path: 'init', mode: 0o100755, content: Buffer.from(init) },
  ]
  return packCpio(entries)
}
