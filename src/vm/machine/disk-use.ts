import { statSync } from 'node:fs'
import type { QmpEvent } from '../../channel/qmp/qmp-commands.js'

/** A file that takes space on the host as the guest writes. */
export interface GrowingFile {
  readonly path: string
  /** Node name of the file in QEMU. */
  readonly node: string
  /** The file as it was before the guest wrote to it. @default empty */
  readonly base?: FileUse | undefined
}

/**
 * Host space of a file, in bytes. Both values are 0 for a block device, which takes no space of a
 * file system.
 */
export interface FileUse {
  readonly size: number
  /** Size without holes. */
  readonly allocated: number
}

interface Monitor {
  execute(command: string, args: object): Promise<unknown>
  on(event: 'BLOCK_WRITE_THRESHOLD', listener: (event: QmpEvent) => void): unknown
}

/**
 * Interval at which the blocks of a sparse file are counted while a guest writes to it,
 * in milliseconds.
 */
const HOLES_MS = 50

/** Cluster size of qcow2. A smaller step would cause a report per cluster. */
const MIN_STEP_BYTES = 65_536
/** Lowest threshold: 0 disables reports. */
const ANY_WRITE = 1

/**
 * Sum of the host space of all disks of a guest, hot-plugged ones included. QEMU reports the first
 * write beyond a threshold of each file. Each file gets a share of the remaining space as its
 * threshold, and each report divides the remaining space again, so nothing is polled and the sum
 * exceeds the limit by at most 64 KiB per disk. In a sparse file of the author, writes below its
 * size take space too: QEMU reports any write, and the blocks are counted 50 ms after the first
 * one.
 */
export class DiskUse {
  readonly #limitBytes: number
  readonly #files = new Map<string, GrowingFile>()
  /** Files that QEMU has closed. */
  readonly #left = new Set<string>()
  #monitor: Monitor | undefined

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Counts a file from now on, and lets QEMU watch it. */
  add(file: GrowingFile): void {
    this.#files.set(file.node, file)
    this.#setThresholds()
  }

  /** Marks a file as closed by QEMU. It still takes space. */
  leave(node: string): void {
    this.#left.add(node)
    this.#setThresholds()
  }

  /** Stops counting a file that was removed. */
  forget(node: string): void {
    this.#files.delete(node)
    this.#left.delete(node)
    this.#setThresholds()
  }

  /**
   * Watches the files in a running QEMU. @param onExceeded called at each report while the sum
   * exceeds the limit.
   */
  watch(monitor: Monitor, onExceeded: () => void): void {
    this.#monitor = monitor
    this.#setThresholds()
    monitor.on('BLOCK_WRITE_THRESHOLD', ({ data }) => {
      const { 'node-name': name, 'write-threshold': threshold, 'amount-exceeded': more } = data
      if (this.#monitor !== monitor || typeof name !== 'string' || !this.#files.has(name)) return
      if (typeof threshold !== 'number' || typeof more !== 'number') return
      // QEMU reports before it writes: the file may still be shorter.
      if (this.#sum({ node: name, size: threshold + more }) > this.#limitBytes) onExceeded()
      // Also beyond the limit: the test may resume the guest.
      if (threshold > ANY_WRITE) this.#setThresholds()
      else
        setTimeout(() => {
          if (this.#monitor !== monitor) return
          if (this.#sum() > this.#limitBytes) onExceeded()
          this.#setThresholds()
        }, HOLES_MS).unref()
    })
  }

  #setThresholds(): void {
    const open = [...this.#files.values()].filter(({ node }) => !this.#left.has(node))
    const step = Math.max(MIN_STEP_BYTES, Math.floor((this.#limitBytes - this.#sum()) / open.length))
    for (const { node, path, base } of open) {
      const { size, allocated } = useOf(path)
      const hasHoles = base !== undefined && allocated < size
      const threshold = { 'node-name': node, 'write-threshold': hasHoles ? ANY_WRITE : size + step }
      // Not awaited: QEMU runs commands in order. A disk that does not exist is not written to.
      this.#monitor?.execute('block-set-write-threshold', threshold).catch(() => {})
    }
  }

  /** @param grown a file that is about to have that size. */
  #sum(grown?: { readonly node: string; readonly size: number }): number {
    let sum = 0
    for (const { node, path, base = NO_USE } of this.#files.values()) {
      const { size, allocated } = useOf(path)
      const currentSize = Math.max(size, grown?.node === node ? grown.size : 0)
      sum += Math.max(0, currentSize - base.size, allocated - base.allocated)
    }
    return sum
  }
}

const NO_USE: FileUse = { size: 0, allocated: 0 }

export function useOf(path: string): FileUse {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return NO_USE
  // A file system such as XFS may allocate more than the size in advance.
  return { size: stats.size, allocated: Math.min(stats.size, stats.blocks * 512) }
}
