import type { Stats } from 'node:fs'
import { lstat, open, readdir, realpath, rename, stat, symlink } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { OpenFolder } from '../common/files/open-folder.js'
import { removeFile } from '../common/files/remove-file.js'
import type { NetbootContent } from '../spec/netboot.js'
import type { ServedContent } from './file-server.js'
import { normalisePath } from './netboot-request.js'

/** A file of the author that the guest can ask for. */
interface AuthorsFile {
  /** Where it is on this host: never in a folder of withvm. */
  readonly path: string
  /** What it was when it was put in the folder. */
  readonly stats: Stats
}

/**
 * The folder that QEMU's TFTP server reads, with what its files were when they were put there. A folder of withvm may belong to the user of
 * QEMU (`runAs`), who can replace anything in it: this process never reads it back, and writes to it without following links.
 */
export class ServedFolder {
  readonly dir: string
  readonly #files = new Map<string, AuthorsFile | Uint8Array>()
  /** Undefined for an author's folder, to which nothing is written. */
  readonly #own: OpenFolder | undefined

  private constructor(dir: string, own: OpenFolder | undefined) {
    this.dir = dir
    this.#own = own
  }

  /** Serves an author's folder as it is. */
  static async of(root: string): Promise<ServedFolder> {
    const folder = new ServedFolder(root, undefined)
    for (const path of await listTree(root)) await folder.#note(path, join(root, path))
    return folder
  }

  /** Makes a folder of links to what is in several trees: a later one's file takes an earlier one's place. */
  static async join(dir: string, trees: readonly string[]): Promise<ServedFolder> {
    const folder = new ServedFolder(dir, await OpenFolder.make(dir))
    try {
      for (const tree of trees) {
        for (const path of await listTree(tree)) await folder.#link(path, join(tree, path))
      }
      return folder
    } catch (error) {
      await folder.close()
      throw error
    }
  }

  /** Puts a file in the folder, whole at once; one of that name goes. */
  async put(path: string, content: NetbootContent): Promise<void> {
    const name = normalisePath(path)
    if (isLink(content)) {
      await this.#link(name, resolve(content.path))
      return
    }
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    await this.#write(name, async (target) => {
      const whole = `${target}.new`
      await removeFile(whole)
      await writeNew(whole, bytes)
      await rename(whole, target)
    })
    this.#files.set(name, bytes)
  }

  /** All names, in order. */
  get names(): string[] {
    return [...this.#files.keys()].sort()
  }

  /** Returns what a file has that the guest asks for. An author's folder may have got new files since. */
  async find(path: string): Promise<ServedContent | undefined> {
    const name = normalisePath(path)
    if (name.split('/').includes('..')) return undefined
    const known = this.#files.get(name)
    if (known !== undefined) return known instanceof Uint8Array ? known : { path: known.path }
    if (this.#own !== undefined) return undefined
    const found = join(this.dir, name)
    const isFile = (await stat(found).catch(() => undefined))?.isFile() === true
    return isFile && (await isInside(found, this.dir)) ? { path: found } : undefined
  }

  /** Returns how a file of the author differs from what it was when the guest was started, in words; undefined where it does not. */
  async findChange(path: string): Promise<string | undefined> {
    const file = this.#files.get(normalisePath(path))
    if (file === undefined || file instanceof Uint8Array) return undefined
    const now = await stat(file.path).catch(() => undefined)
    if (now === undefined) return 'it was removed'
    if (now.size !== file.stats.size) return `it had ${file.stats.size} bytes, and has ${now.size} now`
    if (now.mtimeMs !== file.stats.mtimeMs || now.ino !== file.stats.ino)
      return 'it was written to, or replaced'
    return undefined
  }

  async close(): Promise<void> {
    await this.#own?.close()
  }

  async #link(name: string, path: string): Promise<void> {
    await this.#write(name, async (target) => {
      await removeFile(target)
      await symlink(path, target)
    })
    await this.#note(name, path)
  }

  async #write(name: string, work: (target: string) => Promise<void>): Promise<void> {
    if (this.#own === undefined) throw new Error(`${this.dir} is served as it is`)
    await this.#own.within(name, work)
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

/**
 * Writes a new file, never to where a link leads. QEMU reads it, as the user of `runAs` where there is one, so the umask of this process
 * has no say; who may enter the folder decides who can read it.
 */
async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'wx')
  await file.writeFile(bytes)
  await file.chmod(0o644)
}
