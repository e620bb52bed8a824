import { copyFile, open, rm } from 'node:fs/promises'
import { copySparse } from '../common/files/sparse-copy.js'
import { openWrittenFile } from '../common/files/written-file.js'
import { type VMError, vmError } from '../errors.js'
import type { BaseImage } from '../spec/base-image.js'
import { IDENTIFYING_BYTES } from './disk-format.js'
import { INCOMPATIBLE, parseQcow2Header, type Qcow2Header } from './qcow2.js'

type Base = Pick<NonNullable<BaseImage['disk']>, 'path' | 'format'>

/** What QEMU sets by itself in an overlay of ours: it is dirty until QEMU has closed it. */
const EXPECTED_FEATURES = INCOMPATIBLE.dirty

/**
 * Copies an overlay that a guest's QEMU has written to, and makes sure that the copy is still an overlay of `base` and nothing else.
 * Otherwise a QEMU that its guest has taken over could name other files of the host in it, which qemu-img would then open.
 *
 * @returns the size of the disk that the guest sees
 * @throws {UsageError} IMAGE_INVALID when it is something else; nothing is left at `to` then.
 */
export async function copyWrittenOverlay(options: {
  readonly from: string
  readonly to: string
  readonly base: Base
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
 * Copies a file that QEMU as another user has written to. Neither the file nor its folder is entered through a link: QEMU can replace both,
 * and the user may not be allowed to read what a link leads to.
 *
 * @throws {UsageError} IMAGE_INVALID when it is no regular file.
 */
export async function copyWrittenFile(from: string, to: string, signal?: AbortSignal): Promise<void> {
  // Only Linux has other users for QEMU, and files by their descriptors.
  if (process.platform !== 'linux') return copyFile(from, to)
  const file = await openWrittenFile(from).catch((error: Error) => {
    throw changed(from, 'a regular file, in a folder that is no link', error.message)
  })
  try {
    await copySparse(`/proc/${process.pid}/fd/${file.fd}`, to, signal)
  } finally {
    await file.close()
  }
}

/** Reads the base of an overlay of ours, which only this user can write to. */
export async function readOverlayBase(path: string): Promise<Base> {
  const { backingFile, backingFormat } = await readHeader(path)
  return { path: backingFile ?? '', format: (backingFormat ?? 'qcow2') as Base['format'] }
}

async function readHeader(path: string): Promise<Qcow2Header> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(IDENTIFYING_BYTES), 0, IDENTIFYING_BYTES, 0)
    const header = parseQcow2Header(buffer.subarray(0, bytesRead))
    if (header === undefined) throw changed(path, 'a qcow2 file', 'no header of one')
    return header
  } finally {
    await file.close()
  }
}

function requireOverlayOf(base: Base, header: Qcow2Header, name: string): void {
  const { backingFile, backingFormat, encryption, incompatibleFeatures } = header
  if (backingFile !== base.path || backingFormat !== base.format) {
    const got = backingFile === undefined ? 'none' : `${backingFile} (${backingFormat ?? 'without a format'})`
    throw changed(name, `the backing file ${base.path} (${base.format})`, got)
  }
  const others = incompatibleFeatures & ~EXPECTED_FEATURES
  if (others !== 0n) {
    throw changed(name, 'no external data file and no other feature', `features 0x${others.toString(16)}`)
  }
  if (encryption !== 'none') throw changed(name, 'no encryption', encryption)
}

function changed(path: string, expected: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `QEMU has changed what the file ${path} is, so it is not used.`,
    expected,
    got,
    hint: 'Look for what took over QEMU: neither a guest nor withvm does this. Report it if you find nothing.',
  })
}
