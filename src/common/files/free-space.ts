import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type VMError, vmError } from '../../errors.js'
import { formatBytes } from '../units.js'

/** How much a file of unknown length leaves of a disk for others: this many bytes, and of a disk that has no more this share. */
const LEFT_FREE = { bytes: 256 * 1024 ** 2, share: 1 / 16 }
/** How much is written between two looks at the disk, bytes. */
const LOOK_BYTES = 16 * 1024 ** 2

/** Watches the free space of the disk that a file is written to, so that it is stopped before the disk is full. */
export class SpaceWatch {
  readonly #path: string
  readonly #purpose: string
  #lookAtBytes = 0

  /** @param purpose as `downloading URL`: goes into the error */
  constructor(path: string, purpose: string) {
    this.#path = path
    this.#purpose = purpose
  }

  /**
   * @param written how much the file has now
   * @param total how much it will have; undefined where that is not known; a file that is longer than that counts as one of unknown length
   * @throws {InfrastructureError} NO_SPACE when the rest does not fit.
   */
  async check(written: number, total: number | undefined): Promise<void> {
    if (written < this.#lookAtBytes) return
    this.#lookAtBytes = written + LOOK_BYTES
    const dir = dirname(this.#path)
    const { bavail, blocks, bsize } = await statfs(dir)
    const freeBytes = bavail * bsize
    const isKnown = total !== undefined && total >= written
    const diskBytes = blocks * bsize
    const leftBytes = diskBytes > LEFT_FREE.bytes ? LEFT_FREE.bytes : diskBytes * LEFT_FREE.share
    const neededBytes = isKnown ? total - written : leftBytes
    if (freeBytes >= neededBytes) return
    const needed = `${formatBytes(neededBytes)} ${isKnown ? 'more' : 'left free'}`
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
    summary: `There is not enough space on the disk of ${dir} (${purpose}).`,
    expected: `${needed}, after ${formatBytes(written)}`,
    got: `${free} free`,
    hint: 'Free some space, or put the cache elsewhere with WITHVM_CACHE and temporary files with TMPDIR.',
  })
}
