import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readApplets } from '../../images/tiny/rootfs.js'
import type { CpioEntry } from '../../src/archive/cpio.js'
import { unpackOnce } from './packages.js'

const SCRIPTS = 'usr/share/initramfs-tools'

/** Minimum time for which the scripts wait for the root disk, seconds. Tests shorten it. */
const ROOT_WAIT = { original: 'slumber=30', shortened: 'slumber=2' }

/**
 * Returns the files of an initrd as the tools of Debian and Ubuntu make it: init, its scripts and busybox, from the packages
 * of this host's distribution.
 */
export async function debianInitrd(): Promise<CpioEntry[]> {
  const packages = await unpackOnce(['initramfs-tools-core', 'busybox-static'])
  const read = (path: string) => readFile(join(packages, path))
  const busybox = await read('bin/busybox').catch(() => read('usr/bin/busybox'))
  const file = (path: string, content: Buffer | string, mode = 0o100644): CpioEntry => ({
    path,
    mode,
    content: Buffer.from(content),
  })
  const folder = (path: string): CpioEntry => ({ path, mode: 0o040755 })
  return [
    ...['bin', 'conf', 'scripts', 'etc', 'run'].map(folder),
    file('init', await read(`${SCRIPTS}/init`), 0o100755),
    file('scripts/functions', await read(`${SCRIPTS}/scripts/functions`)),
    file(
      'scripts/local',
      String(await read(`${SCRIPTS}/scripts/local`)).replace(ROOT_WAIT.original, ROOT_WAIT.shortened),
    ),
    file('scripts/nfs', await read(`${SCRIPTS}/scripts/nfs`)),
    file('conf/initramfs.conf', await read('etc/initramfs-tools/initramfs.conf')),
    file('conf/arch.conf', 'DPKG_ARCH=amd64\n'),
    file('bin/busybox', busybox, 0o100755),
    ...readApplets(busybox)
      .filter((applet) => applet !== 'busybox')
      .map(
        (applet): CpioEntry => ({ path: `bin/${applet}`, mode: 0o120777, content: Buffer.from('busybox') }),
      ),
  ]
}
