import { constants, type Stats } from 'node:fs'
import { access, type FileHandle, open, stat } from 'node:fs/promises'
import { dirname, isAbsolute } from 'node:path'
import { formatBytes, TIB } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import { type Content, IDENTIFYING_BYTES, identifyContent } from './disk-format.js'
import { type DiskInfo, readDiskInfo } from './disk-info.js'
import { findPartitionsEnd } from './partition-table.js'
import { checkQcow2Tables, parseQcow2Header, type Qcow2Header } from './qcow2.js'
import { findVdiEnd } from './vdi.js'
import { readVmdkExtents } from './vmdk.js'

export interface DiskFileOptions {
  /** Real path, with all symbolic links resolved. */
  readonly path: string
  /** Name in messages. @default the path */
  readonly name?: string | undefined
  /** Format specified by the user. @default detected from the content */
  readonly format?: DiskFormat | undefined
  /** Called with each additional data file of the image before it is opened. @default no check */
  readonly checkPart?: ((name: string) => Promise<unknown>) | undefined
  readonly signal?: AbortSignal | undefined
}

/** Disk image that was verified as complete. Its backing files have not been checked. */
export interface ProbedFile extends DiskInfo {
  readonly path: string
  readonly format: DiskFormat
  readonly isEncrypted: boolean
}

/**
 * Largest virtual size, that of the largest cloud disks (AWS `io2`, Azure Ultra, Google Hyperdisk).
 * A header with a larger size is damaged or crafted to exhaust resources.
 */
const MAX_VIRTUAL_BYTES = 64 * TIB

/**
 * Verifies that a file is a complete, readable disk image.
 *
 * @throws {UsageError} IMAGE_INVALID when it is a directory, empty, unreadable, truncated, corrupt,
 *   of an impossible size, not a disk, or not of the given `format`.
 * @throws {InfrastructureError} IMAGE_LOCKED when another process has it open for writing.
 */
export async function probeDiskFile(options: DiskFileOptions): Promise<ProbedFile> {
  const { path, name = path, signal } = options
  return withHead(path, name, async (file, head, stats) => {
    const format = await chooseFormat(name, options.format, file, head, stats.size)
    const header = format === 'qcow2' ? readQcow2Header(name, head) : undefined
    const disk = { path, format, file, head, header, stats }
    for (const part of await listParts(name, disk)) await options.checkPart?.(part)
    const info = await checkContent([readDiskInfo(path, format, signal), checkComplete(name, disk, signal)])
    checkVirtualSize(name, info.virtualBytes)
    const isEncrypted = format === 'luks' || header?.encryption === 'luks'
    return { path, format, isEncrypted, ...info }
  })
}

/**
 * Identifies a file from its first bytes.
 *
 * @throws {UsageError} IMAGE_INVALID when it is neither a file nor a disk, empty, or unreadable.
 */
export async function identifyFile(path: string, name = path): Promise<Content> {
  return withHead(path, name, async (_, head) => identifyContent(head))
}

async function withHead<T>(
  path: string,
  name: string,
  inspect: (file: FileHandle, head: Buffer, stats: Stats) => Promise<T>,
): Promise<T> {
  checkKind(name, await stat(path))
  const file = await openForReading(path, name)
  try {
    const stats = await file.stat()
    checkKind(name, stats)
    const head = Buffer.alloc(Math.min(IDENTIFYING_BYTES, stats.size || IDENTIFYING_BYTES))
    await file.read(head, 0, head.length, 0)
    return await inspect(file, head, stats)
  } finally {
    await file.close()
  }
}

/**
 * Throws the most useful error: a lock explains all problems with the content, and our own check of
 * the tables is more specific than QEMU's error.
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
    throw invalidDiskError(
      name,
      'a directory',
      'Specify the path of the disk image itself, a file in that directory.',
    )
  }
  if (!stats.isFile() && !stats.isBlockDevice()) {
    throw invalidDiskError(name, 'neither a file nor a block device', 'Specify the path of a disk image.')
  }
  if (stats.isFile() && stats.size === 0) {
    throw invalidDiskError(
      name,
      'an empty file',
      'Download or copy it again: the last attempt has probably failed.',
    )
  }
}

async function openForReading(path: string, name: string): Promise<FileHandle> {
  try {
    await access(path, constants.R_OK)
    // It may have been replaced with a FIFO since the check.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw vmError('IMAGE_INVALID', {
      summary: `The image ${name} cannot be read.`,
      expected: 'a file that this user can read',
      got: code ?? String(error),
      hint: `Make it readable, for example with \`chmod u+r ${path}\`.`,
      cause: error,
    })
  }
}

interface OpenDisk {
  readonly path: string
  readonly format: DiskFormat
  readonly file: FileHandle
  readonly head: Buffer
  /** Undefined for other formats than qcow2. */
  readonly header: Qcow2Header | undefined
  readonly stats: Stats
}

/** Returns the additional files that qemu-img would open with the image, even for inspection. */
async function listParts(
  name: string,
  { path, format, file, head, header, stats }: OpenDisk,
): Promise<string[]> {
  // QEMU looks up each of them in the folder of the image, also one that looks like a protocol
  // (block/vmdk.c).
  if (format === 'vmdk') {
    const extents = await readVmdkExtents(file, head, stats.size)
    return extents.map((extent) => (isAbsolute(extent) ? extent : `${dirname(path)}/${extent}`))
  }
  if (header?.hasExternalData !== true) return []
  if (header.dataFile !== undefined) return [header.dataFile]
  throw invalidDiskError(name, 'a qcow2 file with an unnamed external data file', 'Create it again.')
}

/** Throws before qemu-img opens the file: the header may name files that are not checked. */
function readQcow2Header(name: string, head: Buffer): Qcow2Header {
  const header = parseQcow2Header(head)
  if (header !== undefined) return header
  if (head.length < IDENTIFYING_BYTES) throw truncatedDiskError(name, head.length, 'a complete qcow2 header')
  throw invalidDiskError(
    name,
    'a qcow2 file with an invalid header',
    'Download or create it again: it is damaged.',
  )
}

async function chooseFormat(
  name: string,
  named: DiskFormat | undefined,
  file: FileHandle,
  head: Buffer,
  fileBytes: number,
): Promise<DiskFormat> {
  // A guest can write a header of another format, which refers to host files, to its raw disk. So a
  // disk declared as raw is not examined.
  if (named === 'raw') return 'raw'
  const content = identifyContent(head)
  if (content.kind !== 'disk') {
    const { what, hint } = describeOther(content)
    throw invalidDiskError(name, what, hint.replace('FILE', name))
  }
  const found = content.format === 'raw' && (await hasVpcFooter(file, fileBytes)) ? 'vpc' : content.format
  if (named === undefined || named === found) return found
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${name} does not have the specified format.`,
    expected: named,
    got: found,
    hint: `Set \`format: '${found}'\`, or remove the option to detect the format from the content.`,
  })
}

function describeOther(content: Exclude<Content, { readonly kind: 'disk' }>) {
  if (content.kind === 'other') return content
  if (content.kind === 'packed') {
    return {
      what: `a ${content.packing.name} file`,
      hint: 'Unpack it and specify the path of the disk image.',
    }
  }
  return {
    what: 'a tar archive',
    hint: 'Remove `format` for an .ova or a root file system, or unpack the archive and specify the path of the disk.',
  }
}

/**
 * Returns true if the file ends with the footer of a Virtual PC disk: a fixed-size one is a raw
 * disk plus this sector.
 */
async function hasVpcFooter(file: FileHandle, fileBytes: number): Promise<boolean> {
  if (fileBytes < 1024) return false
  const footer = Buffer.alloc(8)
  await file.read(footer, 0, 8, fileBytes - 512)
  return footer.toString('latin1') === 'conectix'
}

async function checkComplete(
  name: string,
  { format, file, head, header, stats }: OpenDisk,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!stats.isFile()) return
  if (format === 'raw') checkEnd(name, stats.size, findPartitionsEnd(head), 'its partition table')
  if (format === 'vdi') checkEnd(name, stats.size, findVdiEnd(head), 'its header')
  if (header === undefined) return
  if (header.encryption === 'aes' || header.encryption === 'unknown') {
    throw invalidDiskError(
      name,
      `an image with encryption other than LUKS ('${header.encryption}')`,
      'Convert it with `qemu-img convert` to an image without encryption or with LUKS.',
    )
  }
  const tables = await checkQcow2Tables(file, header, stats, signal)
  if ('problem' in tables)
    throw invalidDiskError(
      name,
      `a qcow2 file with ${tables.problem}`,
      'Download or create it again: it is damaged.',
    )
  checkEnd(name, stats.size, tables.end, 'its cluster tables')
}

function checkEnd(name: string, bytes: number, end: number, source: string): void {
  if (end > bytes)
    throw truncatedDiskError(
      name,
      bytes,
      `at least ${end} bytes (${formatBytes(end)}), according to ${source}`,
    )
}

function checkVirtualSize(name: string, bytes: number): void {
  if (bytes === 0) throw invalidDiskError(name, 'a disk of size 0', 'Create it again with a size.')
  if (bytes <= MAX_VIRTUAL_BYTES) return
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${name} has an impossible size of ${formatBytes(bytes)}.`,
    expected: `at most ${formatBytes(MAX_VIRTUAL_BYTES)}, the size of the largest cloud disks`,
    got: `${bytes} bytes`,
    hint: 'Download or create it again: its header is probably damaged.',
  })
}

function invalidDiskError(name: string, got: string, hint: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${name} is not a disk image.`,
    expected: 'a raw, qcow2, vmdk, vdi, vhdx or vpc disk image, compressed or not, or an .ova',
    got,
    hint,
  })
}

function truncatedDiskError(name: string, bytes: number, expected: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${name} is truncated.`,
    expected,
    got: `${bytes} bytes (${formatBytes(bytes)})`,
    hint: 'Download or copy it again: the last attempt was probably interrupted.',
  })
}
