import type { Stats } from 'node:fs'
import { lstat, open, readdir, realpath, rename, stat, symlink } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { OpenFolder } from '../common/files/open-folder.js'
import { removeFile } from '../common/files/remove-file.js'
import type { NetbootContent } from '../spec/netboot.js'
import type { ServedContent } from './file-server.js'
import { normalizePath } from './netboot-request.js'

/** Served file of the author. */
interface AuthorsFile {
  /** Path on the host, never in a folder of withvm. */
  readonly path: string
  /** Metadata when the file was added. */
  readonly stats: Stats
}

/**
 * Folder that QEMU's TFTP server reads, with the metadata of its files. A folder created by withvm
 * may belong to the user of QEMU (`runAs`), who can replace anything in it. So this process never
 * reads it back, and writes to it without following links.
 */
export class ServedFolder {
  readonly dir: string
  readonly #files = new Map<string, AuthorsFile | Uint8Array>()
  /** Undefined for a folder of the author, which is read-only. */
  readonly #own: OpenFolder | undefined

  private constructor(dir: string, own: OpenFolder | undefined) {
    this.dir = dir
    this.#own = own
  }

  /** Serves a folder of the author unchanged. */
  static async of(root: string): Promise<ServedFolder> {
    const folder = new ServedFolder(root, undefined)
    for (const path of await listTree(root)) await folder.#note(path, join(root, path))
    return folder
  }

  /**
   * Creates a folder of links to the files of several trees. Files of later trees override those of
   * earlier ones.
   */
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

  /** Adds a file atomically. Replaces an existing file of that name. */
  async put(path: string, content: NetbootContent): Promise<void> {
    const name = normalizePath(path)
    if (isLink(content)) {
      await this.#link(name, resolve(content.path))
      return
    }
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    await this.#write(name, async (target) => {
      const temporary = `${target}.new`
      await removeFile(temporary)
      await writeNew(temporary, bytes)
      await rename(temporary, target)
    })
    this.#files.set(name, bytes)
  }

  /** Sorted names of all files. */
  get names(): string[] {
    return [...this.#files.keys()].sort()
  }

  /**
   * Returns the content of a requested file. A folder of the author may contain files that were
   * added later.
   */
  async find(path: string): Promise<ServedContent | undefined> {
    const name = normalizePath(path)
    if (name.split('/').includes('..')) return undefined
    const known = this.#files.get(name)
    if (known !== undefined) return known instanceof Uint8Array ? known : { path: known.path }
    if (this.#own !== undefined) return undefined
    const found = join(this.dir, name)
    const isFile = (await stat(found).catch(() => undefined))?.isFile() === true
    return isFile && (await isInside(found, this.dir)) ? { path: found } : undefined
  }

  /**
   * Describes how a file of the author has changed since the guest was started; undefined if it has
   * not.
   */
  async findChange(path: string): Promise<string | undefined> {
    const file = this.#files.get(normalizePath(path))
    if (file === undefined || file instanceof Uint8Array) return undefined
    const now = await stat(file.path).catch(() => undefined)
    if (now === undefined) return 'it was removed'
    if (now.size !== file.stats.size) return `its size changed from ${file.stats.size} to ${now.size} bytes`
    if (now.mtimeMs !== file.stats.mtimeMs || now.ino !== file.stats.ino) return 'it was modified or replaced'
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
    if (this.#own === undefined) throw new Error(`${this.dir} is served unchanged and cannot be written to`)
    await this.#own.within(name, work)
  }

  async #note(name: string, path: string): Promise<void> {
    this.#files.set(name, { path, stats: await stat(path) })
  }
}

/**
 * Returns the links in a folder whose targets are outside of it, as `name -> target`: they would be
 * served to the guest.
 */
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

/** Lists the files below a folder. Follows links. */
async function listTree(root: string, below = '', depth = 0): Promise<string[]> {
  const names: string[] = []
  for (const name of await readdir(join(root, below))) {
    const path = join(below, name)
    const found = await stat(join(root, path)).catch(() => undefined)
    if (found?.isFile()) names.push(path)
    // A link to a parent folder would cause infinite recursion.
    const isLoop = depth > 8 && (await lstat(join(root, path))).isSymbolicLink()
    if (found?.isDirectory() && !isLoop) names.push(...(await listTree(root, path, depth + 1)))
  }
  return names
}

/**
 * Writes a new file without following links. The mode is set regardless of the umask, because QEMU
 * may read the file as the user of `runAs`. The mode of the folder restricts access.
 */
async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'wx')
  await file.writeFile(bytes)
  await file.chmod(0o644)
}
