import { copyFile, type FileHandle, open, rm } from 'node:fs/promises'
import { sharedDescriptorPath } from '../common/files/descriptor-path.js'
import { copySparse } from '../common/files/sparse-copy.js'
import { openWrittenFile } from '../common/files/written-file.js'
import { type VMError, vmError } from '../errors.js'
import type { BaseImage } from '../spec/base-image.js'
import { IDENTIFYING_BYTES } from './disk-format.js'
import { INCOMPATIBLE, parseQcow2Header, type Qcow2Header } from './qcow2.js'

type Base = Pick<NonNullable<BaseImage['disk']>, 'path' | 'format'>

/** Feature bits that QEMU sets in an overlay: it is dirty until QEMU closes it. */
const EXPECTED_FEATURES = INCOMPATIBLE.dirty

/**
 * Copies an overlay that QEMU has written to, and checks that the copy refers to `base` and to no
 * other file; to none at all if `base` is undefined. A compromised QEMU could otherwise name host
 * files that qemu-img would open.
 *
 * @returns the virtual size of the disk
 * @throws {UsageError} IMAGE_INVALID when the overlay refers to anything else; `to` is removed
 *   then.
 */
export async function copyWrittenOverlay(options: {
  readonly from: string
  readonly to: string
  readonly base: Base | undefined
  readonly signal?: AbortSignal | undefined
}): Promise<{ readonly virtualBytes: number }> {
  const { from, to, base, signal } = options
  await copyWrittenFile(from, to, signal)
  try {
    const header = await readHeader(to)
    requireOverlayOf(base, header, from)
    return { virtualBytes: header.virtualBytes }
  } catch (error) {
    await rm(to, { force: true })
    throw error
  }
}

/**
 * Copies a file written by a QEMU that runs as another user. Follows no link in place of the file
 * or of its folder, which could lead to a file that this user cannot read.
 *
 * @throws {UsageError} IMAGE_INVALID when it is not a regular file.
 */
export async function copyWrittenFile(from: string, to: string, signal?: AbortSignal): Promise<void> {
  // `runAs` and descriptor paths in `/proc` exist only on Linux.
  if (process.platform !== 'linux') return copyFile(from, to)
  const file = await openWrittenFile(from).catch((error: Error) => {
    throw changedOverlayError(from, 'a regular file, in a folder that is not a link', error.message)
  })
  try {
    await copySparse(sharedDescriptorPath(file.fd), to, signal)
  } finally {
    await file.close()
  }
}

/** Returns the base of an overlay that only this user can write to. */
export async function readOverlayBase(path: string): Promise<Base> {
  const { backingFile, backingFormat } = await readHeader(path)
  return { path: backingFile ?? '', format: (backingFormat ?? 'qcow2') as Base['format'] }
}

/** Returns the virtual size of a qcow2 file to which QEMU writes. */
export async function readVirtualBytes(path: string): Promise<number> {
  const file = await openWrittenFile(path)
  try {
    return (await parseHeader(file, path)).virtualBytes
  } finally {
    await file.close()
  }
}

/** Returns the backing file of a qcow2 file to which QEMU writes; undefined without one. */
export async function readWrittenBase(path: string): Promise<string | undefined> {
  const file = await openWrittenFile(path)
  try {
    return (await parseHeader(file, path)).backingFile
  } finally {
    await file.close()
  }
}

async function readHeader(path: string): Promise<Qcow2Header> {
  const file = await open(path, 'r')
  try {
    return await parseHeader(file, path)
  } finally {
    await file.close()
  }
}

async function parseHeader(file: FileHandle, path: string): Promise<Qcow2Header> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(IDENTIFYING_BYTES), 0, IDENTIFYING_BYTES, 0)
  const header = parseQcow2Header(buffer.subarray(0, bytesRead))
  if (header === undefined) throw changedOverlayError(path, 'a qcow2 file', 'no qcow2 header')
  return header
}

function requireOverlayOf(base: Base | undefined, header: Qcow2Header, name: string): void {
  const { backingFile, backingFormat, encryption, incompatibleFeatures } = header
  const isSameFormat = base === undefined || backingFormat === base.format
  if (backingFile !== base?.path || !isSameFormat) {
    const expected = base === undefined ? 'no backing file' : `the backing file ${base.path} (${base.format})`
    const got = backingFile === undefined ? 'none' : `${backingFile} (${backingFormat ?? 'without a format'})`
    throw changedOverlayError(name, expected, got)
  }
  const others = incompatibleFeatures & ~EXPECTED_FEATURES
  if (others !== 0n) {
    throw changedOverlayError(
      name,
      'neither an external data file nor another feature',
      `features 0x${others.toString(16)}`,
    )
  }
  if (encryption !== 'none') throw changedOverlayError(name, 'no encryption', encryption)
}

function changedOverlayError(path: string, expected: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The file ${path} was changed by QEMU in an unexpected way and is not used.`,
    expected,
    got,
    hint: 'Check whether QEMU was compromised: neither a guest nor withvm makes such a change. Report it if you find no cause.',
  })
}
