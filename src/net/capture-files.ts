import { statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'

/** Enough for the network boot of any installer: 128 MiB have the beginnings of 200,000 packets. */
const MOST_BYTES = 128 * 1024 ** 2
/** The guest's disks have the rest. */
const SHARE_OF_DISK = 1 / 8

/** Returns how much of `limits.disk` the captures of a guest may take. */
export function captureLimit(diskBytes: number): number {
  return Math.min(MOST_BYTES, Math.floor(diskBytes * SHARE_OF_DISK))
}

/** The files with what passed on a guest's wire. A new one is begun where one is full, and the oldest go: all take no more than a limit. */
export class CaptureFiles {
  readonly #folder: OpenFolder
  readonly #limitBytes: number
  /** The oldest first; the last is written to. */
  readonly #files: string[] = []
  #dropped = 0
  #powerOn = 0
  #part = 0

  constructor(folder: OpenFolder, limitBytes: number) {
    this.#folder = folder
    this.#limitBytes = limitBytes
  }

  /** How many files were removed. */
  get dropped(): number {
    return this.#dropped
  }

  /** Whether the newest file is as long as one may be. */
  get isFull(): boolean {
    return sizeOf(this.#files.at(-1)) >= this.#limitBytes / 2
  }

  /** Returns the path of the next file, which is not made: `network-1.pcap` for the first power-on, `network-1-2.pcap` for its second part. */
  next(why: 'power-on' | 'full'): string {
    this.#powerOn += why === 'power-on' ? 1 : 0
    this.#part = why === 'power-on' ? 1 : this.#part + 1
    const name = this.#part === 1 ? `network-${this.#powerOn}` : `network-${this.#powerOn}-${this.#part}`
    this.#removeOldest()
    const path = join(this.#folder.path, `${name}.pcap`)
    this.#files.push(path)
    return path
  }

  /** Makes room for one more file: the newest of those that are there is always kept. */
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
