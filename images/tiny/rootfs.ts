import { chmod, mkdir, readdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { vmError } from '../../src/errors.js'
import { readElfSection, readNeededLibraries } from '../../src/kernel/elf.js'
import type { GuestArch } from '../../src/spec/architectures.js'
import { debianArchitecture } from '../debian-architectures.js'
import { PROGRAMS } from './packages.js'
import { guestFiles, WGET_PATH } from './scripts.js'
import { hideWget, WGET_APPLET } from './wget.js'

/** Path of busybox below the root. */
export const BUSYBOX = '/usr/bin/busybox'

const DIRECTORIES: Readonly<Record<string, number>> = {
  '/usr/bin': 0o755,
  '/usr/sbin': 0o755,
  '/usr/lib/modules': 0o755,
  '/usr/lib64': 0o755,
  '/usr/local/bin': 0o755,
  '/usr/local/sbin': 0o755,
  '/dev': 0o755,
  '/proc': 0o555,
  '/sys': 0o555,
  '/run': 0o755,
  '/tmp': 0o1777,
  '/mnt': 0o755,
  '/etc/dropbear': 0o700,
  '/root': 0o700,
  '/root/.ssh': 0o700,
  '/home/user': 0o755,
  '/var/log': 0o755,
  '/var/lib': 0o755,
  '/var/tmp': 0o1777,
  '/srv': 0o755,
  '/opt': 0o755,
}
const LINKS: Readonly<Record<string, string>> = {
  '/bin': 'usr/bin',
  '/sbin': 'usr/sbin',
  '/lib': 'usr/lib',
  '/lib64': 'usr/lib64',
  '/var/run': '../run',
  '/etc/machine-id': '../run/machine-id',
  '/etc/mtab': '../proc/self/mounts',
  '/etc/resolv.conf': '../run/resolv.conf',
  // Paths at which other SSH servers look for sftp-server.
  '/usr/lib/sftp-server': 'openssh/sftp-server',
  '/usr/libexec/sftp-server': '../lib/openssh/sftp-server',
}

/** Modes that cannot be set by copying as an ordinary user or by mke2fs. */
export const ROOT_MODES: Readonly<Record<string, number>> = { '/tmp': 0o041777, '/var/tmp': 0o041777 }

/**
 * Assembles the guest's files in `root` from packages unpacked in `packages`, without kernel
 * modules.
 */
export async function assembleRoot(packages: string, root: string, arch: GuestArch): Promise<void> {
  const { libraries } = debianArchitecture(arch)
  const own = { ...guestFiles(arch) }
  for (const [dir, mode] of Object.entries(DIRECTORIES)) {
    await mkdir(join(root, dir), { recursive: true })
    await chmod(join(root, dir), mode)
  }
  const files = await indexFiles(packages, libraries)
  const busybox = await readFile(findFile(files, 'busybox'))
  const withoutWget = hideWget(busybox)
  await install(root, BUSYBOX, withoutWget ?? busybox)
  if (withoutWget === undefined) delete own[WGET_PATH]
  else await install(root, WGET_APPLET, busybox)
  for (const [program, target] of Object.entries(PROGRAMS)) {
    await copyWithLibraries(
      files,
      root,
      { source: findFile(files, program), target },
      `/usr/lib/${libraries}`,
    )
  }
  for (const [target, { content, mode }] of Object.entries(own)) {
    await install(root, target, content, mode)
  }
  for (const [link, target] of Object.entries(LINKS)) {
    await mkdir(join(root, dirname(link)), { recursive: true })
    await symlink(target, join(root, link))
  }
  const taken = new Set([...Object.keys(own), ...Object.values(PROGRAMS)].map((path) => basename(path)))
  for (const applet of readApplets(busybox)) {
    if (!taken.has(applet) && applet !== 'busybox') await symlink('busybox', join(root, '/usr/bin', applet))
  }
}

/**
 * Sets mode 0755 on every directory that is not listed in {@link DIRECTORIES}, because the umask of
 * the builder may be stricter.
 */
export async function makeDirectoriesAccessible(root: string): Promise<void> {
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isDirectory() && DIRECTORIES[path.slice(root.length)] === undefined) await chmod(path, 0o755)
  }
  await chmod(root, 0o755)
}

/**
 * Returns the names of busybox applets, which its file contains as one list of NUL-terminated names
 * starting with `[`.
 */
export function readApplets(busybox: Buffer): string[] {
  const start = busybox.indexOf('[\0[[\0', 0, 'latin1')
  if (start === -1) throw new TypeError('The list of applets was not found in busybox.')
  const end = busybox.indexOf('\0\0', start, 'latin1')
  return busybox.toString('latin1', start, end).split('\0')
}

async function copyWithLibraries(
  files: ReadonlyMap<string, string>,
  root: string,
  program: { readonly source: string; readonly target: string },
  libraryDir: string,
): Promise<void> {
  const pending = [program]
  const seen = new Set<string>()
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (seen.has(next.target)) continue
    seen.add(next.target)
    const content = await readFile(next.source)
    await install(root, next.target, content)
    for (const library of readNeededLibraries(content)) {
      pending.push({ source: findFile(files, library), target: `${libraryDir}/${library}` })
    }
    const loader = readLoader(content)
    if (loader !== undefined)
      pending.push({ source: findFile(files, basename(loader)), target: `/usr${loader}` })
  }
}

/** Returns the dynamic loader of a program, for example `/lib64/ld-linux-x86-64.so.2`. */
function readLoader(program: Buffer): string | undefined {
  return readElfSection(program, '.interp')?.toString('latin1').replace(/\0+$/, '')
}

async function install(
  root: string,
  target: string,
  content: Uint8Array | string,
  mode = 0o755,
): Promise<void> {
  const path = join(root, target)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
  await chmod(path, mode)
}

/**
 * Returns programs and libraries of the packages by file name, because their folders differ between
 * distributions.
 */
async function indexFiles(packages: string, libraries: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  const folders = ['bin', 'sbin', 'lib64', 'openssh', libraries]
  for (const entry of await readdir(packages, { recursive: true, withFileTypes: true })) {
    if (!folders.includes(basename(entry.parentPath))) continue
    if (entry.isFile() || entry.isSymbolicLink()) {
      const path = join(entry.parentPath, entry.name)
      const real = entry.isFile() ? path : await realpath(path).catch(() => undefined)
      if (real !== undefined && !files.has(entry.name)) files.set(entry.name, real)
    }
  }
  return files
}

function findFile(files: ReadonlyMap<string, string>, name: string): string {
  const path = files.get(name)
  if (path !== undefined) return path
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: `The packages of this distribution lack the file ${name}, which the image tiny requires.`,
    hint: 'Run `apt-get update` and retry. If that fails, specify the path of a disk image: this release of the distribution is not supported as a source of tiny.',
  })
}
