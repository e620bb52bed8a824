import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { resolveImage } from '../../src/image/resolve-image.js'
import { ownTmpdir } from './own-tmpdir.js'
import { askDisk, writeFiles } from './root-files.js'

/** A root file system of nothing but the busybox of `tiny`, and an init if one is given. Gives its folder. */
export async function makeBusyboxRoot(init?: string): Promise<string> {
  const { disk } = await resolveImage('tiny')
  const [work, root] = [ownTmpdir(), ownTmpdir()]
  const copy = join(work, 'disk')
  copyFileSync(disk?.path as string, copy)
  mkdirSync(join(root, 'bin'))
  askDisk(copy, `dump /usr/bin/busybox ${join(root, 'bin/busybox')}`)
  chmodSync(join(root, 'bin/busybox'), 0o755)
  for (const applet of ['sh', 'uname', 'id', 'ls', 'cat', 'stat'])
    symlinkSync('busybox', join(root, 'bin', applet))
  return init === undefined ? root : writeFiles(root, { 'sbin/init': init })
}

/** The same as a raw disk that is one file system. */
export async function makeBusyboxDisk(init: string): Promise<string> {
  const root = await makeBusyboxRoot(init)
  for (const folder of ['dev', 'proc', 'sys', 'run', 'tmp']) mkdirSync(join(root, folder))
  const path = join(ownTmpdir(), 'disk.raw')
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', root, path, '24M'], { env })
  return path
}
