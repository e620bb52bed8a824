import { realpath, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { VMError, vmError } from '../errors.js'
import { DISK_FORMATS, type DiskFormat } from '../spec/base-image.js'
import { type DiskFileOptions, type ProbedFile, probeDiskFile } from './disk-file.js'

export interface DiskOptions extends DiskFileOptions {
  /** Folders in which other files that the image needs may lie. @default the image's own */
  readonly backingFolders?: readonly string[] | undefined
}

type Backing = NonNullable<ProbedFile['backing']>

/** A disk image that is whole, with all that it is an overlay of: itself first. */
export interface Disk extends ProbedFile {
  readonly chain: readonly { readonly path: string; readonly format: DiskFormat }[]
}

/**
 * Makes sure that a disk image can be read to the end of its chain of backing files, and that neither it nor any of
 * those reads a file that it should not: a header that names a file of the host brings that into the guest.
 *
 * @throws {UsageError} IMAGE_INVALID when an image of the chain is missing, was there before, lies in another folder
 *   than is allowed, has no format stated, or is itself no whole image; with the chain up to there.
 * @throws {InfrastructureError} IMAGE_LOCKED when another process has one open for writing.
 */
export async function openDisk(options: DiskOptions): Promise<Disk> {
  const name = options.name ?? options.path
  const folders = await Promise.all(
    (options.backingFolders ?? [dirname(options.path)]).map((folder) =>
      realpath(folder).catch(() => resolve(folder)),
    ),
  )
  const areNamed = options.backingFolders !== undefined
  const probe = (file: DiskFileOptions) =>
    probeDiskFile({
      ...file,
      checkPart: (part) =>
        followName(name, part, { from: file.path, what: 'a part of it', folders, areNamed }),
    })
  const first = await probe(options)
  const chain: ProbedFile[] = [first]
  try {
    for (let current = first; ; ) {
      // What QEMU itself says that it opened: the same, if our own look at the image was right.
      for (const part of current.parts)
        await followName(name, part, { from: current.path, what: 'a part of it', folders, areNamed })
      if (current.backing === undefined) break
      const { backing } = current
      const path = await followName(name, backing.name, {
        from: current.path,
        what: 'its backing file',
        folders,
        areNamed,
      })
      if (chain.some((earlier) => earlier.path === path)) throw looping(name, path)
      const format = DISK_FORMATS.find((known) => known === backing.format)
      if (format === undefined) throw withoutFormat(name, current.path, backing)
      current = await probe({ path, format, signal: options.signal })
      if (current.isEncrypted) throw encryptedBacking(name, path)
      chain.push(current)
    }
  } catch (error) {
    throw addChain(error, chain)
  }
  return { ...first, chain: chain.map(({ path, format }) => ({ path, format })) }
}

/** Where a file is that is named in an image, and may be read. */
async function followName(
  image: string,
  name: string,
  {
    from,
    what,
    folders,
    areNamed,
  }: {
    readonly from: string
    readonly what: string
    readonly folders: readonly string[]
    /** Whether the author named the folders: `backingFolders`. */
    readonly areNamed: boolean
  },
): Promise<string> {
  // QEMU takes `json:`, `nbd:`, `https:` and others for ways to a disk: none of them can be checked.
  const isElsewhere = /^(?!file:)[a-z][a-z0-9+.-]*:/i.test(name)
  if (isElsewhere) throw outside(image, name, folders, 'not a file')
  const path = resolve(dirname(from), name.replace(/^file:/, ''))
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    throw missing(image, path, what, error)
  })
  if (!folders.some((folder) => contains(folder, real)))
    throw outside(image, real === path ? path : `${path} (a link to ${real})`, folders, 'in another folder')
  // The folder of an image may be a home directory, whose hidden folders have the keys of its owner.
  if (
    !areNamed &&
    !folders.some((folder) => contains(folder, real) && !/(^|\/)\./.test(relative(folder, real)))
  )
    throw outside(image, real, folders, 'hidden')
  // QEMU would wait for the writer of a FIFO, and a device may do anything when it is opened.
  const stats = await stat(real)
  if (!stats.isFile() && !stats.isBlockDevice()) throw outside(image, real, folders, 'no regular file')
  return real
}

function contains(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way !== '' && way !== '..' && !way.startsWith('../') && !isAbsolute(way)
}

function addChain(error: unknown, chain: readonly ProbedFile[]): unknown {
  if (!(error instanceof VMError)) return error
  const text = chain.map(({ path, format }) => `${path} (${format})`).join('\n  needs ')
  return error.withEvidence([{ label: 'Chain of images', text }])
}

function missing(image: string, path: string, what: string, cause: NodeJS.ErrnoException): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} needs another file, which cannot be read.`,
    expected: `${what} ${path}`,
    got: cause.code ?? String(cause),
    hint: 'Put that file back, or make an image that stands alone where it still is, with: qemu-img convert -O qcow2 IMAGE NEW',
    cause,
  })
}

function looping(image: string, path: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} is an overlay of itself, by way of others.`,
    expected: 'a chain of backing files that ends',
    got: `${path} for the second time`,
    hint: 'One of them names the wrong file. Put it right with: qemu-img rebase -u -F FORMAT -b RIGHT IMAGE',
  })
}

function outside(image: string, got: string, folders: readonly string[], where: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} reads something that is ${where}, which might not be meant for the guest.`,
    expected: `files in ${folders.map((folder) => join(folder, '/')).join(' or ')}`,
    got,
    hint: 'If it is meant, say where: image: { path, backingFolders: [FOLDER, …] }. An image that stands alone is made with: qemu-img convert -O qcow2 IMAGE NEW',
  })
}

function encryptedBacking(image: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} is an overlay of an encrypted one.`,
    expected: 'backing files that are not encrypted: `secret` opens the image itself',
    got,
    hint: 'Make an image that stands alone, with: qemu-img convert (its option --object secret,… opens it).',
  })
}

function withoutFormat(image: string, path: string, { name, format }: Backing): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} does not say of what format its backing file is.`,
    expected: 'a stated format: what a guest wrote to a raw disk could pass for another one',
    got: format === undefined ? `only the name ${name}` : `'${format}', which is none of a disk image`,
    hint: `State it, with: qemu-img rebase -u -F FORMAT -b ${name} ${path}`,
  })
}
