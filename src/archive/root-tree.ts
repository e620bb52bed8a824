import { chmod, link, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SparseFile } from '../common/files/sparse-file.js'
import { type VMError, vmError } from '../errors.js'
import { followLinks } from './follow-links.js'
import { cleanPath, MAX_PATHS_CHARACTERS, type TarEntry } from './tar-archive.js'

/** Owner and mode of a file. `mode` includes the type bits. */
export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** File, folder or link of a root file system. Hard links are paths with the same node. */
export interface RootNode extends Attributes {
  readonly type: 'file' | 'folder' | 'symlink'
  /** Target of a symbolic link. */
  readonly target: string
  /** Reads the content of a file. */
  readonly read: (() => AsyncIterable<Buffer>) | undefined
}

/** Maximum depth of a path. */
const MAX_STEPS = 256
/** Limit of Linux for one name (NAME_MAX). */
const MAX_NAME_BYTES = 255

const TYPE_BITS = { file: 0o100000, folder: 0o040000, symlink: 0o120000 } as const

/**
 * Root file system that is assembled in memory, layer by layer, before anything is written. So no
 * link of one archive can lead another out of the target folder.
 */
export class RootTree {
  readonly #nodes = new Map<string, RootNode>()
  /** Direct children of each folder: removing a folder does not search the whole tree. */
  readonly #children = new Map<string, Set<string>>()
  readonly #name: string
  /** Total length of all paths, including implicit folders. */
  #characters = 0

  /** @param name name of the archive in messages */
  constructor(name: string) {
    this.#name = name
    this.#nodes.set('', { ...folder(0o755), uid: 0, gid: 0 })
  }

  get nodes(): ReadonlyMap<string, RootNode> {
    return this.#nodes
  }

  /**
   * Adds a member of an archive, replacing an existing path. Device nodes are left out: the kernel
   * creates those of `/dev`.
   */
  add(entry: TarEntry, read: () => AsyncIterable<Buffer>): void {
    const { type, uid, gid } = entry
    if (type === 'character' || type === 'block' || type === 'fifo') return
    // A newline in a name would end a command of debugfs.
    if (/\p{Cc}/u.test(entry.path))
      throw unusableRootError(this.#name, JSON.stringify(entry.path), 'control characters in its name')
    const path = this.#place(entry.path)
    if (type === 'hardlink') {
      const node = this.#nodes.get(this.#place(cleanPath(entry.target, this.#name)))
      if (node === undefined)
        throw unusableRootError(this.#name, entry.path, `a link to ${entry.target}, which does not exist`)
      this.#set(path, node)
      return
    }
    if (type === 'symlink' && !/^[^\0]+$/.test(entry.target))
      throw unusableRootError(this.#name, entry.path, 'a link without a target')
    const mode = TYPE_BITS[type] | (type === 'symlink' ? 0o777 : entry.mode)
    const target = type === 'symlink' ? entry.target : ''
    this.#set(path, { type, mode, uid, gid, target, read: type === 'file' ? read : undefined })
  }

  /** Removes a path and everything below it. */
  remove(path: string): void {
    this.#remove(this.#place(path), true)
  }

  /** Removes everything below a path. */
  empty(path: string): void {
    this.#remove(this.#place(path), false)
  }

  /** Resolves a path from the root of the tree; undefined if it does not exist. */
  find(path: string): string | undefined {
    const found = this.#follow(path)
    return found !== undefined && this.#nodes.has(found) ? found : undefined
  }

  /**
   * Writes the tree into an empty folder. Links are written last, so nothing is written through a
   * link.
   *
   * @throws {UsageError} IMAGE_INVALID when a path is longer than this host supports.
   */
  async write(dir: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.#write(dir, signal)
    } catch (error) {
      const { code, path = '', dest = path } = error as NodeJS.ErrnoException & { readonly dest?: string }
      if (code !== 'ENAMETOOLONG') throw error
      throw pathLimitError(this.#name, shorten(dest), 'too long for this host')
    }
  }

  async #write(dir: string, signal?: AbortSignal): Promise<void> {
    const written = new Map<RootNode, string>()
    for (const [path, node] of this.#nodes) {
      signal?.throwIfAborted()
      const to = join(dir, path)
      const earlier = written.get(node)
      if (node.type === 'symlink') continue
      if (node.type === 'folder') {
        if (path !== '') await mkdir(to)
      } else if (earlier !== undefined) await link(earlier, to)
      else {
        await writeContent(to, node)
        written.set(node, to)
      }
      // This process must be able to read the files that mke2fs copies, whatever their mode in the
      // guest.
      if (earlier === undefined)
        await chmod(to, (node.mode & 0o777) | (node.type === 'folder' ? 0o700 : 0o400))
    }
    for (const [path, { type, target }] of this.#nodes) {
      signal?.throwIfAborted()
      if (type === 'symlink') await symlink(target, join(dir, path))
    }
  }

  /**
   * Resolves the path of a new member: links in its parent folders are followed, the member itself
   * is not. Missing folders are created.
   */
  #place(path: string): string {
    if (path === '') return ''
    this.#requireValidPath(path)
    const parent = parentOf(path)
    // Paths of nodes never contain a link.
    if (this.#nodes.get(parent)?.type === 'folder') return path
    const found = this.#follow(parent)
    if (found === undefined)
      throw unusableRootError(this.#name, path, 'circular or too many links in its path')
    const name = path.slice(path.lastIndexOf('/') + 1)
    const placed = found === '' ? name : `${found}/${name}`
    this.#requireValidPath(placed)
    this.#makeFolders(found)
    return placed
  }

  /**
   * Rejects a path that is too deep or has a too long name: it could not be written, and walking it
   * would take long.
   */
  #requireValidPath(path: string): void {
    const steps = path.split('/')
    if (steps.length > MAX_STEPS)
      throw pathLimitError(this.#name, shorten(path), `a path with more than ${MAX_STEPS} components`)
    if (steps.some((step) => Buffer.byteLength(step) > MAX_NAME_BYTES))
      throw pathLimitError(this.#name, shorten(path), `a name with more than ${MAX_NAME_BYTES} bytes`)
  }

  #makeFolders(path: string): void {
    if (this.#nodes.get(path)?.type === 'folder') return
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1))
      this.#makeFolder(path.slice(0, end))
    this.#makeFolder(path)
  }

  #makeFolder(path: string): void {
    if (this.#nodes.get(path)?.type === 'folder') return
    this.#remove(path, true)
    this.#put(path, { ...folder(0o755), uid: 0, gid: 0 })
  }

  #follow(path: string): string | undefined {
    return followLinks(path, (at) => {
      const node = this.#nodes.get(at)
      return node?.type === 'symlink' ? node.target : undefined
    })
  }

  #set(path: string, node: RootNode): void {
    const isSameFolder = node.type === 'folder' && this.#nodes.get(path)?.type === 'folder'
    if (!isSameFolder) this.#remove(path, true)
    this.#put(path, node)
  }

  #put(path: string, node: RootNode): void {
    if (!this.#nodes.has(path)) this.#characters += path.length
    if (this.#characters > MAX_PATHS_CHARACTERS)
      throw pathLimitError(this.#name, shorten(path), 'total length of all paths exceeded')
    this.#nodes.set(path, node)
    if (path === '') return
    const parent = parentOf(path)
    const siblings = this.#children.get(parent) ?? new Set()
    this.#children.set(parent, siblings.add(path))
  }

  #remove(path: string, withItself: boolean): void {
    const pending = [...(this.#children.get(path) ?? [])]
    this.#children.delete(path)
    for (let below = pending.pop(); below !== undefined; below = pending.pop()) {
      for (const child of this.#children.get(below) ?? []) pending.push(child)
      this.#children.delete(below)
      this.#delete(below)
    }
    if (!withItself || path === '') return
    this.#delete(path)
    this.#children.get(parentOf(path))?.delete(path)
  }

  #delete(path: string): void {
    if (this.#nodes.delete(path)) this.#characters -= path.length
  }
}

/** Shortens a path for a message. */
function shorten(path: string): string {
  return path.length > 100 ? `${path.slice(0, 100)}…` : path
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

function folder(mode: number) {
  return { type: 'folder', mode: TYPE_BITS.folder | mode, target: '', read: undefined } as const
}

async function writeContent(path: string, node: RootNode): Promise<void> {
  const file = await SparseFile.create(path)
  try {
    for await (const piece of node.read?.() ?? []) await file.append(piece)
    await file.end()
  } catch (error) {
    await file.close().catch(() => {})
    throw error
  }
}

function unusableRootError(name: string, path: string, why: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The root file system ${name} has an unsupported member.`,
    expected: 'files, folders and links',
    got: `${path}: ${why}`,
    hint: 'Create the archive again, for example with GNU tar.',
  })
}

function pathLimitError(name: string, path: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The root file system ${name} has more or longer paths than are supported.`,
    expected: `names of at most ${MAX_NAME_BYTES} bytes, paths that this host supports, and ${MAX_PATHS_CHARACTERS / 1024 ** 2} Mi characters in all paths`,
    got: `${path}: ${got}`,
    hint: 'Shorten or remove this path in the image, or use a disk image.',
  })
}
