import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type VMError, vmError } from '../../errors.js'
import { formatBytes, MIB } from '../units.js'

/**
 * Free space that a file of unknown length leaves on the disk: this many bytes, or this share of a
 * smaller disk.
 */
const RESERVE = { bytes: 256 * MIB, share: 1 / 16 }
/** Number of bytes written between two checks of the disk. */
const CHECK_INTERVAL_BYTES = 16 * MIB

/**
 * Checks the free space of the disk that a file is written to, so writing stops before the disk is
 * full.
 */
export class SpaceWatch {
  readonly #path: string
  readonly #purpose: string
  #nextCheckBytes = 0

  /** @param purpose description for the error, for example `downloading URL` */
  constructor(path: string, purpose: string) {
    this.#path = path
    this.#purpose = purpose
  }

  /**
   * @param written current size of the file
   * @param total final size; undefined if unknown. A file that exceeds it counts as unknown.
   * @throws {InfrastructureError} NO_SPACE when the rest does not fit.
   */
  async check(written: number, total: number | undefined): Promise<void> {
    if (written < this.#nextCheckBytes) return
    this.#nextCheckBytes = written + CHECK_INTERVAL_BYTES
    const dir = dirname(this.#path)
    const { bavail, blocks, bsize } = await statfs(dir)
    const freeBytes = bavail * bsize
    const isKnown = total !== undefined && total >= written
    const diskBytes = blocks * bsize
    const reserveBytes = diskBytes > RESERVE.bytes ? RESERVE.bytes : diskBytes * RESERVE.share
    const neededBytes = isKnown ? total - written : reserveBytes
    if (freeBytes >= neededBytes) return
    const needed = `${formatBytes(neededBytes)} ${isKnown ? 'more' : 'of free space to remain'}`
    throw notEnough({ purpose: this.#purpose, dir, needed, free: formatBytes(freeBytes), written })
  }
}

function notEnough(text: {
  readonly purpose: string
  readonly dir: string
  readonly needed: string
  readonly free: string
  readonly written: number
}): VMError {
  const { purpose, dir, needed, free, written } = text
  return vmError('NO_SPACE', {
    summary: `The file system of ${dir} does not have enough free space (${purpose}).`,
    expected: `${needed} (${formatBytes(written)} already written)`,
    got: `${free} free`,
    hint: 'Free some space, or move the cache with WITHVM_CACHE and temporary files with TMPDIR.',
  })
}
