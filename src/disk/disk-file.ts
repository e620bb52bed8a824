import { constants, type Stats } from 'node:fs'
import { access, type FileHandle, open, stat } from 'node:fs/promises'
import { dirname, isAbsolute } from 'node:path'
import { formatBytes } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import { type Content, IDENTIFYING_BYTES, identifyContent } from './disk-format.js'
import { type DiskInfo, readDiskInfo } from './disk-info.js'
import { findPartitionsEnd } from './partition-table.js'
import { checkQcow2Tables, parseQcow2Header } from './qcow2.js'
import { findVdiEnd } from './vdi.js'
import { readVmdkExtents } from './vmdk.js'

export interface DiskFileOptions {
  /** Where it really is: behind all symbolic links. */
  readonly path: string
  /** As messages call it. @default the path */
  readonly name?: string | undefined
  /** What the author says it is. @default what its content says */
  readonly format?: DiskFormat | undefined
  /** Called with each further file that the image has its content in, before anything opens that. @default nothing is checked */
  readonly checkPart?: ((name: string) => Promise<unknown>) | undefined
  readonly signal?: AbortSignal | undefined
}

/** A disk image that was found whole by itself; what it may be an overlay of has not been looked at. */
export interface ProbedFile extends DiskInfo {
  readonly path: string
  readonly format: DiskFormat
  readonly isEncrypted: boolean
}

/**
 * The biggest disks that clouds rent out have 64 TiB (AWS `io2`, Azure Ultra, Google Hyperdisk): a header that says
 * more is damaged, or made to exhaust who opens it.
 */
const MOST_VIRTUAL_BYTES = 64 * 1024 ** 4

/**
 * Makes sure that a file is a whole disk image that can be read now.
 *
 * @throws {UsageError} IMAGE_INVALID when it is a directory, empty, unreadable, truncated, corrupt,
 *   of an impossible size, not a disk, or of another format than `format`.
 * @throws {InfrastructureError} IMAGE_LOCKED when another process has it open for writing.
 */
export async function probeDiskFile(options: DiskFileOptions): Promise<ProbedFile> {
  const { path, name = path, signal } = options
  return withHead(path, name, async (file, head, stats) => {
    const format = await chooseFormat(name, options.format, file, head, stats.size)
    const disk = { path, format, file, head, stats }
    for (const part of await listParts(name, disk)) await options.checkPart?.(part)
    const info = await checkContent([readDiskInfo(path, format, signal), checkWhole(name, disk, signal)])
    checkVirtualSize(name, info.virtualBytes)
    const isEncrypted =
      format === 'luks' || (format === 'qcow2' && parseQcow2Header(head)?.encryption === 'luks')
    return { path, format, isEncrypted, ...info }
  })
}

/**
 * Tells by its first bytes what a file is.
 *
 * @throws {UsageError} IMAGE_INVALID when it is neither a file nor a disk, empty, or unreadable.
 */
export async function identifyFile(path: string, name = path): Promise<Content> {
  return withHead(path, name, async (_, head) => identifyContent(head))
}

async function withHead<T>(
  path: string,
  name: string,
  look: (file: FileHandle, head: Buffer, stats: Stats) => Promise<T>,
): Promise<T> {
  checkKind(name, await stat(path))
  const file = await openForReading(path, name)
  try {
    const stats = await file.stat()
    checkKind(name, stats)
    const head = Buffer.alloc(Math.min(IDENTIFYING_BYTES, stats.size || IDENTIFYING_BYTES))
    await file.read(head, 0, head.length, 0)
    return await look(file, head, stats)
  } finally {
    await file.close()
  }
}

/**
 * Throws what says most: that somebody writes to the image explains all that is wrong with its content, and our own
 * look at its tables says what is missing where QEMU's says that it cannot be opened.
 */
async function checkContent([opening, tables]: readonly [
  Promise<DiskInfo>,
  Promise<void>,
]): Promise<DiskInfo> {
  const [opened, whole] = await Promise.allSettled([opening, tables])
  if (opened.status === 'rejected' && (opened.reason as VMError).code === 'IMAGE_LOCKED') throw opened.reason
  if (whole.status === 'rejected') throw whole.reason
  if (opened.status === 'rejected') throw opened.reason
  return opened.value
}

function checkKind(name: string, stats: Stats): void {
  if (stats.isDirectory()) {
    throw invalid(name, 'a directory', 'Give the path of the disk image itself: a file in that directory.')
  }
  if (!stats.isFile() && !stats.isBlockDevice()) {
    throw invalid(name, 'neither a file nor a block device', 'Give the path of a disk image.')
  }
  if (stats.isFile() && stats.size === 0) {
    throw invalid(name, 'an empty file', 'Its download or copy has probably failed: make it again.')
  }
}

async function openForReading(path: string, name: string): Promise<FileHandle> {
  try {
    await access(path, constants.R_OK)
    // It may have become a FIFO since it was looked at.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw vmError('IMAGE_INVALID', {
      summary: `The image ${name} cannot be read.`,
      expected: 'a file that this user may read',
      got: code ?? String(error),
      hint: `Give yourself the right to read it, as with: chmod u+r ${path}`,
      cause: error,
    })
  }
}

interface OpenDisk {
  readonly path: string
  readonly format: DiskFormat
  readonly file: FileHandle
  readonly head: Buffer
  readonly stats: Stats
}

/** The further files that qemu-img would open with the image, even to look at it. */
async function listParts(name: string, { path, format, file, head, stats }: OpenDisk): Promise<string[]> {
  // QEMU looks up each of them in the folder of the image, also one that looks like a protocol (block/vmdk.c).
  if (format === 'vmdk') {
    const extents = await readVmdkExtents(file, head, stats.size)
    return extents.map((extent) => (isAbsolute(extent) ? extent : `${dirname(path)}/${extent}`))
  }
  const header = format === 'qcow2' ? parseQcow2Header(head) : undefined
  if (header?.hasExternalData !== true) return []
  if (header.dataFile !== undefined) return [header.dataFile]
  throw invalid(name, 'a qcow2 file with an external data file that it does not name', 'Make it again.')
}

async function chooseFormat(
  name: string,
  named: DiskFormat | undefined,
  file: FileHandle,
  head: Buffer,
  fileBytes: number,
): Promise<DiskFormat> {
  // Whoever can write to a raw disk, as its guest can, can make it look like something else, with files of the host
  // behind it: what is said to be raw is not looked at.
  if (named === 'raw') return 'raw'
  const content = identifyContent(head)
  if (content.kind !== 'disk') {
    const { what, hint } = describeOther(content)
    throw invalid(name, what, hint.replace('FILE', name))
  }
  const found = content.format === 'raw' && (await hasVpcFooter(file, fileBytes)) ? 'vpc' : content.format
  if (named === undefined || named === found) return found
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${name} is of another format than the option says.`,
    expected: named,
    got: found,
    hint: `Say format: '${found}', or leave the option away: the format is found by the content.`,
  })
}

function describeOther(content: Exclude<Content, { readonly kind: 'disk' }>) {
  if (content.kind === 'other') return content
  if (content.kind === 'packed') {
    return { what: `a ${content.packing.name} file`, hint: 'Unpack it, and give the path of what was in it.' }
  }
  return {
    what: 'a tar archive',
    hint: 'Leave `format` away for an .ova or a root file system; else unpack it, and give the path of the disk in it.',
  }
}

/** A virtual PC disk of fixed size is a raw disk with a sector at its end. */
async function hasVpcFooter(file: FileHandle, fileBytes: number): Promise<boolean> {
  if (fileBytes < 1024) return false
  const footer = Buffer.alloc(8)
  await file.read(footer, 0, 8, fileBytes - 512)
  return footer.toString('latin1') === 'conectix'
}

async function checkWhole(
  name: string,
  { format, file, head, stats }: OpenDisk,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!stats.isFile()) return
  if (format === 'raw') checkEnd(name, stats.size, findPartitionsEnd(head), 'its partition table')
  if (format === 'vdi') checkEnd(name, stats.size, findVdiEnd(head), 'its header')
  if (format !== 'qcow2') return
  const header = parseQcow2Header(head)
  if (header === undefined) throw truncated(name, stats.size, 'a whole qcow2 header')
  if (header.encryption === 'aes' || header.encryption === 'unknown') {
    throw invalid(
      name,
      `an image that is encrypted in another way than by LUKS ('${header.encryption}')`,
      'Make one without encryption, or by LUKS, with: qemu-img convert.',
    )
  }
  const tables = await checkQcow2Tables(file, header, stats, signal)
  if ('problem' in tables)
    throw invalid(name, `a qcow2 file with ${tables.problem}`, 'It is damaged: download or make it again.')
  checkEnd(name, stats.size, tables.end, 'its cluster tables')
}

function checkEnd(name: string, bytes: number, end: number, source: string): void {
  if (end > bytes) throw truncated(name, bytes, `at least ${end} bytes (${formatBytes(end)}), by ${source}`)
}

function checkVirtualSize(name: string, bytes: number): void {
  if (bytes === 0) throw invalid(name, 'a disk of no size at all', 'Make it again, with a size.')
  if (bytes <= MOST_VIRTUAL_BYTES) return
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${name} says that it is a disk of ${formatBytes(bytes)}.`,
    expected: `no more than ${formatBytes(MOST_VIRTUAL_BYTES)}, the most that a disk of any cloud has`,
    got: `${bytes} bytes`,
    hint: 'Its header is probably damaged: download or make it again.',
  })
}

function invalid(name: string, got: string, hint: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${name} is not a disk image.`,
    expected: 'a raw, qcow2, vmdk, vdi, vhdx or vpc disk image, packed or not, or an .ova',
    got,
    hint,
  })
}

function truncated(name: string, bytes: number, expected: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${name} is truncated.`,
    expected,
    got: `${bytes} bytes (${formatBytes(bytes)})`,
    hint: 'Its download or copy has probably stopped half-way: make it again.',
  })
}
