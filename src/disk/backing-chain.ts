import { realpath, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { VMError, vmError } from '../errors.js'
import { DISK_FORMATS, type DiskFormat } from '../spec/base-image.js'
import { type DiskFileOptions, type ProbedFile, probeDiskFile } from './disk-file.js'

export interface DiskOptions extends DiskFileOptions {
  /** Folders that may contain other files of the image. @default the folder of the image */
  readonly backingFolders?: readonly string[] | undefined
}

type Backing = NonNullable<ProbedFile['backing']>

/** Complete disk image with its backing chain, the image itself first. */
export interface Disk extends ProbedFile {
  readonly chain: readonly { readonly path: string; readonly format: DiskFormat }[]
}

/**
 * Verifies that a disk image and its backing chain are readable and refer to no file outside of the
 * allowed folders. A header that names a host file would otherwise expose that file to the guest.
 *
 * @throws {UsageError} IMAGE_INVALID when an image in the chain is missing, occurs twice, is
 *   outside of the allowed folders, has no specified format, or is incomplete. The error shows the
 *   chain up to that image.
 * @throws {InfrastructureError} IMAGE_LOCKED when another process has one of the images open for
 *   writing.
 */
export async function openDisk(options: DiskOptions): Promise<Disk> {
  const name = options.name ?? options.path
  const folders = await Promise.all(
    (options.backingFolders ?? [dirname(options.path)]).map((folder) =>
      realpath(folder).catch(() => resolve(folder)),
    ),
  )
  const scope = { folders, areNamed: options.backingFolders !== undefined }
  const checkPart = (part: string) => checkFile(name, part, { ...scope, what: 'a part of it' })
  const probe = (file: DiskFileOptions) => probeDiskFile({ ...file, checkPart })
  const first = await probe(options)
  const chain: ProbedFile[] = [first]
  const visited = new Set([await realpath(first.path)])
  try {
    for (let current = first; ; ) {
      // Files reported by QEMU: they equal the verified ones if the headers were parsed correctly.
      for (const part of current.parts) await checkPart(part)
      if (current.backing === undefined) break
      const { backing } = current
      // QEMU resolves a relative name from the folder of the path it opened, not from the target of
      // a link. So does the next round.
      const path = locateBacking(current.path, backing.name)
      const real = await checkFile(name, path, { ...scope, what: 'its backing file' })
      if (visited.has(real)) throw circularChainError(name, real)
      visited.add(real)
      const format = DISK_FORMATS.find((known) => known === backing.format)
      if (format === undefined) throw withoutFormat(name, current.path, backing)
      current = await probe({ path, format, signal: options.signal })
      if (current.isEncrypted) throw encryptedBackingError(name, path)
      chain.push(current)
    }
  } catch (error) {
    throw addChain(error, chain)
  }
  return { ...first, chain: chain.map(({ path, format }) => ({ path, format })) }
}

/** Protocol prefix, as QEMU detects it (block.c, `path_has_protocol`). */
const PROTOCOL = /^[^/:]*:/

/**
 * Returns the path that QEMU opens for a backing file. Does not normalize `..`: after a symbolic
 * link, it refers to another folder than the text suggests.
 */
function locateBacking(from: string, name: string): string {
  const path = name.replace(/^file:(?=\/)/, '')
  return isAbsolute(path) || PROTOCOL.test(path) ? path : `${dirname(from)}/${path}`
}

/** Verifies that a file of an image may be read. Returns its path with all links resolved. */
async function checkFile(
  image: string,
  name: string,
  {
    what,
    folders,
    areNamed,
  }: {
    readonly what: string
    readonly folders: readonly string[]
    /** If true, the author specified the folders as `backingFolders`. */
    readonly areNamed: boolean
  },
): Promise<string> {
  const path = name.replace(/^file:/, '')
  // QEMU treats `json:`, `nbd:`, `https:` and others as protocols, which cannot be verified.
  if (PROTOCOL.test(path)) throw outsideFolderError(image, name, folders, 'a source that is not a file')
  if (!isAbsolute(path)) throw relativePathError(image, name)
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    throw missingBackingError(image, path, what, error)
  })
  if (!folders.some((folder) => contains(folder, real)))
    throw outsideFolderError(
      image,
      resolve(path) === real ? real : `${path} (a link to ${real})`,
      folders,
      'a file outside of the allowed folders',
    )
  // The folder of an image may be a home directory with keys in hidden folders.
  if (
    !areNamed &&
    !folders.some((folder) => contains(folder, real) && !/(^|\/)\./.test(relative(folder, real)))
  )
    throw outsideFolderError(image, real, folders, 'a hidden file')
  // Opening a FIFO blocks, and opening a device may have side effects.
  const stats = await stat(real)
  if (!stats.isFile() && !stats.isBlockDevice())
    throw outsideFolderError(image, real, folders, 'a path that is not a regular file')
  return real
}

function contains(folder: string, path: string): boolean {
  const inner = relative(folder, path)
  return inner !== '' && inner !== '..' && !inner.startsWith('../') && !isAbsolute(inner)
}

function addChain(error: unknown, chain: readonly ProbedFile[]): unknown {
  if (!(error instanceof VMError)) return error
  const text = chain.map(({ path, format }) => `${path} (${format})`).join('\n  needs ')
  return error.withEvidence([{ label: 'Chain of images', text }])
}

function missingBackingError(
  image: string,
  path: string,
  what: string,
  cause: NodeJS.ErrnoException,
): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} needs another file, which cannot be read.`,
    expected: `${what} ${path}`,
    got: cause.code ?? String(cause),
    hint: 'Restore that file, or flatten the image where the file still exists: `qemu-img convert -O qcow2 IMAGE NEW`.',
    cause,
  })
}

function circularChainError(image: string, path: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} is part of its own backing chain.`,
    expected: 'a backing chain without a loop',
    got: `${path} for the second time`,
    hint: 'Set the correct backing file of one of these images: `qemu-img rebase -u -F FORMAT -b BACKING IMAGE`.',
  })
}

function relativePathError(image: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} names a file by a path relative to QEMU's working directory.`,
    expected: 'an absolute path for an external data file or a `file:` name',
    got,
    hint: 'Store an absolute path. In the folder of the image, run `qemu-img amend -f qcow2 -o data_file="$PWD/FILE" IMAGE`; for a backing file, `qemu-img rebase -u -F FORMAT -b FILE IMAGE`.',
  })
}

function outsideFolderError(image: string, got: string, folders: readonly string[], source: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} refers to ${source}.`,
    expected: `files in ${folders.map((folder) => join(folder, '/')).join(' or ')}`,
    got,
    hint: 'Allow the folder with `image: { path, backingFolders: [FOLDER, …] }`, or flatten the image: `qemu-img convert -O qcow2 IMAGE NEW`.',
  })
}

function encryptedBackingError(image: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} has an encrypted backing file.`,
    expected: 'backing files that are not encrypted (`secret` opens only the image itself)',
    got,
    hint: 'Flatten the image with `qemu-img convert`, whose option `--object secret,…` unlocks it.',
  })
}

function withoutFormat(image: string, path: string, { name, format }: Backing): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${image} does not specify the format of its backing file.`,
    expected:
      "an explicit format, such as 'qcow2' (probing is unsafe, because a guest can write a qcow2 header to a raw disk)",
    got: format === undefined ? `only the name ${name}` : `'${format}', which is not a disk image format`,
    hint: `Set the format: \`qemu-img rebase -u -F FORMAT -b ${name} ${path}\`.`,
  })
}
