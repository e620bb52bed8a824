import { statSync } from 'node:fs'
import type { QmpEvent } from '../../channel/qmp/qmp-commands.js'

/** A file that takes space on the host as the guest writes. */
export interface GrowingFile {
  readonly path: string
  /** QEMU's name for the file, where it has it open. */
  readonly node: string
  /** The file as it was before the guest wrote to it. @default empty */
  readonly base?: FileUse | undefined
}

/** What a file takes of the host. Both are 0 for a block device, which has its own space. */
export interface FileUse {
  readonly size: number
  /** The part of the size that is not a hole. */
  readonly allocated: number
}

interface Monitor {
  execute(command: string, args: object): Promise<unknown>
  on(event: 'BLOCK_WRITE_THRESHOLD', listener: (event: QmpEvent) => void): unknown
}

/** How often the blocks of a file with holes are counted while a guest writes to it. */
const HOLES_MS = 50

/** QEMU's files grow by clusters of this size: a smaller step would be one report for each. */
const LEAST_STEP = 65_536
/** The lowest threshold: 0 is none. */
const ANY_WRITE = 1

/**
 * What the disks of a guest take of the host in sum, those included that were plugged in. QEMU reports the first write beyond a
 * threshold of each file: each gets a part of what is left, and at each report what is left is divided anew. So nothing has to be polled, and
 * the sum cannot exceed the limit by more than 64 KiB for each disk. A file of the author's that has holes takes space wherever the guest
 * writes to it: QEMU reports any write, and its blocks are counted 50 ms after the first one.
 */
export class DiskUse {
  readonly #limitBytes: number
  readonly #files = new Map<string, GrowingFile>()
  /** Files that QEMU has not open any more. */
  readonly #left = new Set<string>()
  #monitor: Monitor | undefined

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Counts a file from now on, and has QEMU watch it. */
  add(file: GrowingFile): void {
    this.#files.set(file.node, file)
    this.#setThresholds()
  }

  /** QEMU has closed the file. It still takes its space. */
  leave(node: string): void {
    this.#left.add(node)
    this.#setThresholds()
  }

  /** Watches the files in a QEMU that was started. @param onExceeded called when the sum is beyond the limit. */
  watch(monitor: Monitor, onExceeded: () => void): void {
    this.#monitor = monitor
    this.#setThresholds()
    monitor.on('BLOCK_WRITE_THRESHOLD', ({ data }) => {
      const { 'node-name': name, 'write-threshold': threshold, 'amount-exceeded': more } = data
      if (this.#monitor !== monitor || typeof name !== 'string' || !this.#files.has(name)) return
      if (typeof threshold !== 'number' || typeof more !== 'number') return
      // The write is yet to come: the file may be shorter still.
      if (this.#sum({ node: name, size: threshold + more }) > this.#limitBytes) onExceeded()
      else if (threshold > ANY_WRITE) this.#setThresholds()
      else
        setTimeout(() => {
          if (this.#monitor !== monitor) return
          if (this.#sum() > this.#limitBytes) onExceeded()
          else this.#setThresholds()
        }, HOLES_MS).unref()
    })
  }

  #setThresholds(): void {
    const open = [...this.#files.values()].filter(({ node }) => !this.#left.has(node))
    const step = Math.max(LEAST_STEP, Math.floor((this.#limitBytes - this.#sum()) / open.length))
    for (const { node, path, base } of open) {
      const { size, allocated } = useOf(path)
      const hasHoles = base !== undefined && allocated < size
      const threshold = { 'node-name': node, 'write-threshold': hasHoles ? ANY_WRITE : size + step }
      // Not waited for: commands are obeyed in their order. Where there is no such disk, nothing is written to it.
      this.#monitor?.execute('block-set-write-threshold', threshold).catch(() => {})
    }
  }

  /** @param grown a file that is about to have that size. */
  #sum(grown?: { readonly node: string; readonly size: number }): number {
    let sum = 0
    for (const { node, path, base = NOTHING } of this.#files.values()) {
      const { size, allocated } = useOf(path)
      const sizeThen = Math.max(size, grown?.node === node ? grown.size : 0)
      sum += Math.max(0, sizeThen - base.size, allocated - base.allocated)
    }
    return sum
  }
}

const NOTHING: FileUse = { size: 0, allocated: 0 }

export function useOf(path: string): FileUse {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return NOTHING
  // A file system may allocate more than the size in advance, as XFS does.
  return { size: stats.size, allocated: Math.min(stats.size, stats.blocks * 512) }
}
