import { statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'
import { MIB } from '../common/units.js'

/**
 * Maximum size of all captures: enough for the network boot of any installer, the headers of
 * 200,000 packets.
 */
const MAX_BYTES = 128 * MIB
/** Part of `limits.disk` for captures; the disks of the guest use the rest. */
const SHARE_OF_DISK = 1 / 8

/** Returns the part of `limits.disk` that the captures of a guest may use. */
export function captureLimit(diskBytes: number): number {
  return Math.min(MAX_BYTES, Math.floor(diskBytes * SHARE_OF_DISK))
}

/**
 * Capture files of a guest's network traffic. Rotates full files and removes the oldest to stay
 * below a total size.
 */
export class CaptureFiles {
  readonly #folder: OpenFolder
  readonly #limitBytes: number
  /** Paths, oldest first. QEMU writes to the last one. */
  readonly #files: string[] = []
  #dropped = 0
  #powerOn = 0
  #part = 0

  constructor(folder: OpenFolder, limitBytes: number) {
    this.#folder = folder
    this.#limitBytes = limitBytes
  }

  /** Number of removed files. */
  get dropped(): number {
    return this.#dropped
  }

  /** True if the newest file has reached its maximum size. */
  get isFull(): boolean {
    return sizeOf(this.#files.at(-1)) >= this.#limitBytes / 2
  }

  /**
   * Returns the path of the next file without creating it: `network-1.pcap` for the first power-on,
   * `network-1-2.pcap` for its second part.
   */
  next(why: 'power-on' | 'full'): string {
    this.#powerOn += why === 'power-on' ? 1 : 0
    this.#part = why === 'power-on' ? 1 : this.#part + 1
    const name = this.#part === 1 ? `network-${this.#powerOn}` : `network-${this.#powerOn}-${this.#part}`
    this.#removeOldest()
    const path = join(this.#folder.path, `${name}.pcap`)
    this.#files.push(path)
    return path
  }

  /** Removes old files so that one more fits. The newest is always kept. */
  #removeOldest(): void {
    const total = () => this.#files.reduce((sum, file) => sum + sizeOf(file), 0)
    while (this.#files.length > 1 && total() > this.#limitBytes / 2) {
      const oldest = basename(this.#files.shift() as string)
      void this.#folder.remove(oldest).catch(() => {}) // QEMU can put a folder in its place
      this.#dropped++
    }
  }
}

function sizeOf(file: string | undefined): number {
  return file === undefined ? 0 : (statSync(file, { throwIfNoEntry: false })?.size ?? 0)
}
