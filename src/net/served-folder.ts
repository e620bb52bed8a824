import type { Stats } from 'node:fs'
import { lstat, mkdir, readdir, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import type { NetbootContent } from '../spec/netboot.js'
import { normalisePath } from './netboot-request.js'

/** A file that the guest can ask for. */
interface ServedFile {
  /** Where it is on this host. */
  readonly path: string
  /** What it was when it was put in the folder. */
  readonly stats: Stats
}

/** The folder that QEMU's TFTP server reads, with what its files were when they were put there. */
export class ServedFolder {
  readonly dir: string
  readonly #files = new Map<string, ServedFile>()
  readonly #isOwn: boolean

  private constructor(dir: string, isOwn: boolean) {
    this.dir = dir
    this.#isOwn = isOwn
  }

  /** Serves an author's folder as it is. */
  static async of(root: string): Promise<ServedFolder> {
    const folder = new ServedFolder(root, false)
    for (const path of await listTree(root)) await folder.#note(path, join(root, path))
    return folder
  }

  /** Makes a folder of links to what is in several trees: a later one's file takes an earlier one's place. */
  static async join(dir: string, trees: readonly string[]): Promise<ServedFolder> {
    const folder = new ServedFolder(dir, true)
    await mkdir(dir, { recursive: true })
    for (const tree of trees) {
      for (const path of await listTree(tree)) await folder.#link(path, join(tree, path))
    }
    return folder
  }

  /** Puts a file in the folder, whole at once; one of that name goes. */
  async put(path: string, content: NetbootContent): Promise<void> {
    const name = normalisePath(path)
    if (isLink(content)) {
      await this.#link(name, resolve(content.path))
      return
    }
    const target = join(this.dir, name)
    await mkdir(dirname(target), { recursive: true })
    const whole = `${target}.new`
    await rm(whole, { force: true })
    await writeFile(whole, content, { flag: 'wx' }) // never to where a link leads
    await rename(whole, target)
    await this.#note(name, target)
  }

  /** All names, in order. */
  get names(): string[] {
    return [...this.#files.keys()].sort()
  }

  /** Where on this host a file is that the guest asks for. Its own folder may have got new files since. */
  async find(path: string): Promise<string | undefined> {
    const name = normalisePath(path)
    if (name.split('/').includes('..')) return undefined
    const known = this.#files.get(name)?.path
    if (known !== undefined) return known
    const found = join(this.dir, name)
    const isFile = !this.#isOwn && (await stat(found).catch(() => undefined))?.isFile() === true
    return isFile && (await isInside(found, this.dir)) ? found : undefined
  }

  /** How a file differs from what it was when the guest was started, in words; undefined where it does not. */
  async findChange(path: string): Promise<string | undefined> {
    const file = this.#files.get(normalisePath(path))
    if (file === undefined) return undefined
    const now = await stat(file.path).catch(() => undefined)
    if (now === undefined) return 'it was removed'
    if (now.size !== file.stats.size) return `it had ${file.stats.size} bytes, and has ${now.size} now`
    if (now.mtimeMs !== file.stats.mtimeMs || now.ino !== file.stats.ino)
      return 'it was written to, or replaced'
    return undefined
  }

  async #link(name: string, path: string): Promise<void> {
    const target = join(this.dir, name)
    await mkdir(dirname(target), { recursive: true })
    await rm(target, { force: true })
    await symlink(path, target)
    await this.#note(name, path)
  }

  async #note(name: string, path: string): Promise<void> {
    this.#files.set(name, { path, stats: await stat(path) })
  }
}

/** Links in a folder that lead out of it, each with where to: what is there, a guest would be given. */
export async function findLinksOutside(root: string): Promise<string[]> {
  const real = await realpath(root)
  const outside: string[] = []
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) continue
    const path = join(entry.parentPath, entry.name)
    const target = await realpath(path).catch(() => undefined)
    if (target !== undefined && !isBelow(target, real)) outside.push(`${relative(root, path)} -> ${target}`)
  }
  return outside.sort()
}

async function isInside(path: string, root: string): Promise<boolean> {
  const [target, real] = await Promise.all([path, root].map((name) => realpath(name).catch(() => undefined)))
  return target !== undefined && real !== undefined && isBelow(target, real)
}

function isBelow(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)
}

function isLink(content: NetbootContent): content is { readonly path: string } {
  return typeof content === 'object' && !(content instanceof Uint8Array)
}

/** The files below a folder, also behind links, each once for each name. */
async function listTree(root: string, below = '', depth = 0): Promise<string[]> {
  const names: string[] = []
  for (const name of await readdir(join(root, below))) {
    const path = join(below, name)
    const found = await stat(join(root, path)).catch(() => undefined)
    if (found?.isFile()) names.push(path)
    // A link to a folder above it would go on for ever.
    const isLoop = depth > 8 && (await lstat(join(root, path))).isSymbolicLink()
    if (found?.isDirectory() && !isLoop) names.push(...(await listTree(root, path, depth + 1)))
  }
  return names
}
