import { chmod, link, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SparseFile } from '../common/files/sparse-file.js'
import { type VMError, vmError } from '../errors.js'
import { followLinks } from './follow-links.js'
import { cleanPath, MOST_PATHS_CHARACTERS, type TarEntry } from './tar-archive.js'

/** Whose a file is, and who may do what with it: `mode` has the type bits too. */
export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** A file, a folder or a link of a root file system. Hard links are paths with the same node. */
export interface RootNode extends Attributes {
  readonly type: 'file' | 'folder' | 'symlink'
  /** Of symbolic links. */
  readonly target: string
  /** Gives the content of a file. */
  readonly read: (() => AsyncIterable<Buffer>) | undefined
}

/** How deep a path may be. */
const MOST_STEPS = 256
/** Linux's own limit on one name (NAME_MAX). */
const MOST_NAME_BYTES = 255

const TYPE_BITS = { file: 0o100000, folder: 0o040000, symlink: 0o120000 } as const

/**
 * A root file system that is put together in mind, layer by layer, before any of it is written: so that no link of one
 * archive leads another out of the folder that is written to.
 */
export class RootTree {
  readonly #nodes = new Map<string, RootNode>()
  /** What is directly in each folder, by paths: to take a folder away, not all of the tree is looked at. */
  readonly #children = new Map<string, Set<string>>()
  readonly #name: string
  /** Of all paths together, those of folders that no member names included. */
  #characters = 0

  /** @param name as messages call what it is made of */
  constructor(name: string) {
    this.#name = name
    this.#nodes.set('', { ...folder(0o755), uid: 0, gid: 0 })
  }

  get nodes(): ReadonlyMap<string, RootNode> {
    return this.#nodes
  }

  /** Adds a member of an archive, in place of what is there. Device nodes are left out: the kernel makes those of `/dev`. */
  add(entry: TarEntry, read: () => AsyncIterable<Buffer>): void {
    const { type, uid, gid } = entry
    if (type === 'character' || type === 'block' || type === 'fifo') return
    // A line end in a name would be the end of a command of debugfs.
    if (/\p{Cc}/u.test(entry.path)) throw unusable(this.#name, JSON.stringify(entry.path), 'an odd name')
    const path = this.#place(entry.path)
    if (type === 'hardlink') {
      const node = this.#nodes.get(this.#place(cleanPath(entry.target, this.#name)))
      if (node === undefined)
        throw unusable(this.#name, entry.path, `a link to ${entry.target}, which is not there`)
      this.#set(path, node)
      return
    }
    if (type === 'symlink' && !/^[^\0]+$/.test(entry.target))
      throw unusable(this.#name, entry.path, 'a link without a target')
    const mode = TYPE_BITS[type] | (type === 'symlink' ? 0o777 : entry.mode)
    const target = type === 'symlink' ? entry.target : ''
    this.#set(path, { type, mode, uid, gid, target, read: type === 'file' ? read : undefined })
  }

  /** Takes a path away, with all that is below it. */
  remove(path: string): void {
    this.#remove(this.#place(path), true)
  }

  /** Takes away all that is below a path. */
  empty(path: string): void {
    this.#remove(this.#place(path), false)
  }

  /** Where a path leads to from the root of the tree; undefined where that is not there. */
  find(path: string): string | undefined {
    const found = this.#follow(path)
    return found !== undefined && this.#nodes.has(found) ? found : undefined
  }

  /**
   * Writes the tree into an empty folder. Links come last: nothing is written through one.
   *
   * @throws {UsageError} IMAGE_INVALID when a path is longer than this host supports.
   */
  async write(dir: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.#write(dir, signal)
    } catch (error) {
      const { code, path = '', dest = path } = error as NodeJS.ErrnoException & { readonly dest?: string }
      if (code !== 'ENAMETOOLONG') throw error
      throw unusable(this.#name, shorten(dest), 'too long for this host')
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
      // This process has to read what mke2fs copies, whatever its user in the guest may do.
      if (earlier === undefined)
        await chmod(to, (node.mode & 0o777) | (node.type === 'folder' ? 0o700 : 0o400))
    }
    for (const [path, { type, target }] of this.#nodes) {
      signal?.throwIfAborted()
      if (type === 'symlink') await symlink(target, join(dir, path))
    }
  }

  /** Where a member is put: its folder may be reached by links, itself is not followed. Folders that are missing are made. */
  #place(path: string): string {
    if (path === '') return ''
    this.#requirePossible(path)
    const parent = parentOf(path)
    // No path of a node has a link on its way.
    if (this.#nodes.get(parent)?.type === 'folder') return path
    const found = this.#follow(parent)
    if (found === undefined) throw unusable(this.#name, path, 'a folder that links lead nowhere')
    const name = path.slice(path.lastIndexOf('/') + 1)
    const placed = found === '' ? name : `${found}/${name}`
    this.#requirePossible(placed)
    this.#makeFolders(found)
    return placed
  }

  /** A path that is too deep, or has a name that is too long, could not be written, and takes long to be walked. */
  #requirePossible(path: string): void {
    const steps = path.split('/')
    if (steps.length > MOST_STEPS)
      throw unusable(this.#name, shorten(path), `a path of more than ${MOST_STEPS} steps`)
    if (steps.some((step) => Buffer.byteLength(step) > MOST_NAME_BYTES))
      throw unusable(this.#name, shorten(path), `a name of more than ${MOST_NAME_BYTES} bytes`)
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
    if (this.#characters > MOST_PATHS_CHARACTERS)
      throw unusable(this.#name, shorten(path), 'paths that are too long together')
    this.#nodes.set(path, node)
    if (path === '') return
    const parent = parentOf(path)
    const siblings = this.#children.get(parent) ?? new Set()
    this.#children.set(parent, siblings.add(path))
  }

  #remove(path: string, withItself: boolean): void {
    const doomed = [...(this.#children.get(path) ?? [])]
    this.#children.delete(path)
    for (let below = doomed.pop(); below !== undefined; below = doomed.pop()) {
      for (const child of this.#children.get(below) ?? []) doomed.push(child)
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

/** A path of thousands of characters makes no message clearer. */
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

function unusable(name: string, path: string, why: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The root file system ${name} has a member that cannot be written.`,
    expected: 'files, folders and links',
    got: `${path}: ${why}`,
    hint: 'Make the archive again, with GNU tar for instance.',
  })
}
