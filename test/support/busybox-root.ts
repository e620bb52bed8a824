import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
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
