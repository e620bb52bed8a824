import { constants, type Stats } from 'node:fs'
import { access, type FileHandle, open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type VMError, vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import { formatBytes } from '../spec/units.js'
import { IDENTIFYING_BYTES, identifyContent } from './disk-format.js'
import { findPartitionsEnd } from './partition-table.js'
import { findQcow2End, parseQcow2Header } from './qcow2.js'
import { QEMU_IMG, runTool } from './run-tool.js'

export interface DiskFileOptions {
  readonly path: string
  /** What the author says it is. @default what its content says */
  readonly format?: DiskFormat | undefined
  readonly signal?: AbortSignal | undefined
}

const INFO_TIMEOUT_MS = 30_000

/**
 * Makes sure that a file is a whole disk image that can be read now, and gives its format.
 *
 * @throws {UsageError} IMAGE_INVALID when it is a directory, empty, unreadable, truncated, corrupt, encrypted,
 *   not a disk, of another format than `format`, or has a backing file that is missing.
 * @throws {InfrastructureError} IMAGE_LOCKED when another process has it open for writing.
 */
export async function probeDiskFile(options: DiskFileOptions): Promise<DiskFormat> {
  const { path, signal } = options
  const stats = await stat(path)
  checkKind(path, stats)
  const file = await openForReading(path)
  try {
    const head = Buffer.alloc(Math.min(IDENTIFYING_BYTES, stats.size || IDENTIFYING_BYTES))
    await file.read(head, 0, head.length, 0)
    const format = await chooseFormat(options, file, head, stats.size)
    await checkContent([inspect(path, format, signal), checkWhole(path, format, file, head, stats)])
    return format
  } finally {
    await file.close()
  }
}

/**
 * Throws what says most: that somebody writes to the image explains all that is wrong with its content, and our own
 * look at its tables says what is missing where QEMU's says that it cannot be opened.
 */
async function checkContent([opening, tables]: readonly [Promise<void>, Promise<void>]): Promise<void> {
  const [opened, whole] = await Promise.allSettled([opening, tables])
  const isLocked = opened.status === 'rejected' && (opened.reason as VMError).code === 'IMAGE_LOCKED'
  for (const check of isLocked ? [opened] : [whole, opened]) {
    if (check.status === 'rejected') throw check.reason
  }
}

function checkKind(path: string, stats: Stats): void {
  if (stats.isDirectory()) {
    throw invalid(path, 'a directory', 'Give the path of the disk image itself: a file in that directory.')
  }
  if (!stats.isFile() && !stats.isBlockDevice()) {
    throw invalid(path, 'neither a file nor a block device', 'Give the path of a disk image.')
  }
  if (stats.isFile() && stats.size === 0) {
    throw invalid(path, 'an empty file', 'Its download or copy has probably failed: make it again.')
  }
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    await access(path, constants.R_OK)
    return await open(path, 'r')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw vmError('IMAGE_INVALID', {
      summary: `The image ${path} cannot be read.`,
      expected: 'a file that this user may read',
      got: code ?? String(error),
      hint: `Give yourself the right to read it, as with: chmod u+r ${path}`,
      cause: error,
    })
  }
}

async function chooseFormat(
  options: DiskFileOptions,
  file: FileHandle,
  head: Buffer,
  fileBytes: number,
): Promise<DiskFormat> {
  const { path, format: named } = options
  const content = identifyContent(head)
  // Somebody who says `raw` may mean bytes that look like something else.
  if (content.kind === 'other') {
    if (named === 'raw') return 'raw'
    throw invalid(path, content.what, content.hint.replace('FILE', path))
  }
  const found = content.format === 'raw' && (await hasVpcFooter(file, fileBytes)) ? 'vpc' : content.format
  if (named === undefined || named === found) return found
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${path} is of another format than the option says.`,
    expected: named,
    got: found,
    hint: `Say format: '${found}', or leave the option away: the format is found by the content.`,
  })
}

/** A virtual PC disk of fixed size is a raw disk with a sector at its end. */
async function hasVpcFooter(file: FileHandle, fileBytes: number): Promise<boolean> {
  if (fileBytes < 1024) return false
  const footer = Buffer.alloc(8)
  await file.read(footer, 0, 8, fileBytes - 512)
  return footer.toString('latin1') === 'conectix'
}

async function checkWhole(
  path: string,
  format: DiskFormat,
  file: FileHandle,
  head: Buffer,
  stats: Stats,
): Promise<void> {
  if (!stats.isFile()) return
  if (format === 'raw') checkEnd(path, stats.size, findPartitionsEnd(head), 'its partition table')
  if (format !== 'qcow2') return
  const header = parseQcow2Header(head)
  if (header === undefined) throw truncated(path, stats.size, 'a whole qcow2 header')
  if (header.isEncrypted) {
    throw invalid(path, 'an encrypted image', `Make one without encryption, with: qemu-img convert.`)
  }
  checkEnd(path, stats.size, await findQcow2End(file, header, stats.size), 'its cluster tables')
  if (header.backingFile !== undefined) await checkBacking(path, header.backingFile)
}

function checkEnd(path: string, bytes: number, end: number, source: string): void {
  if (end > bytes) throw truncated(path, bytes, `at least ${end} bytes (${formatBytes(end)}), by ${source}`)
}

async function checkBacking(path: string, backingFile: string): Promise<void> {
  if (/^(json|nbd|https?|ssh|rbd):/.test(backingFile)) return
  const backing = resolve(dirname(path), backingFile.replace(/^file:/, ''))
  try {
    await access(backing, constants.R_OK)
  } catch (error) {
    throw vmError('IMAGE_INVALID', {
      summary: `The image ${path} needs another file, which cannot be read.`,
      expected: `its backing file ${backing}`,
      got: (error as NodeJS.ErrnoException).code ?? String(error),
      hint: 'Put the backing file back, or make an image that stands alone where it still is, with: qemu-img convert -O qcow2 IMAGE NEW',
      cause: error,
    })
  }
}

/** Has QEMU's own code open it: it sees corruption, features that it does not know, and other writers' locks. */
async function inspect(path: string, format: DiskFormat, signal: AbortSignal | undefined): Promise<void> {
  try {
    await runTool({
      tool: QEMU_IMG,
      args: ['info', '--output=json', '-f', format, path],
      purpose: `opening the image ${path} as ${format}`,
      code: 'IMAGE_INVALID',
      hint: `Look at it with: qemu-img check ${path}. It is probably damaged or not of the format ${format}: download or make it again.`,
      timeoutMs: INFO_TIMEOUT_MS,
      signal,
    })
  } catch (error) {
    if (!/Failed to get .*lock/.test((error as Error).message)) throw error
    throw vmError('IMAGE_LOCKED', {
      summary: `The image ${path} is open for writing in another process.`,
      expected: 'an image that nobody writes to while guests read it',
      got: 'the lock of a QEMU or qemu-img that writes to it',
      hint: `Stop that process (find it with: fuser ${path}), or give it and withvm a copy each.`,
      cause: error,
    })
  }
}

function invalid(path: string, got: string, hint: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${path} is not a disk image.`,
    expected: 'a raw, qcow2, vmdk, vdi, vhdx or vpc disk image',
    got,
    hint,
  })
}

function truncated(path: string, bytes: number, expected: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${path} is truncated.`,
    expected,
    got: `${bytes} bytes (${formatBytes(bytes)})`,
    hint: 'Its download or copy has probably stopped half-way: make it again.',
  })
}
