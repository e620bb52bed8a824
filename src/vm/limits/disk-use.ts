import { statSync } from 'node:fs'
import type { QmpEvent } from '../../channel/qmp/qmp-commands.js'

/** A file that takes space on the host as the guest writes. */
export interface GrowingFile {
  readonly path: string
  /** QEMU's name for the file, where it has it open. */
  readonly node: string
  /** The size that it had before the guest wrote to it. @default 0 */
  readonly baseBytes?: number
}

interface Monitor {
  execute(command: string, args: object): Promise<unknown>
  on(event: 'BLOCK_WRITE_THRESHOLD', listener: (event: QmpEvent) => void): unknown
}

/** QEMU's files grow by clusters of this size: a smaller step would be one report for each. */
const LEAST_STEP = 65_536

/**
 * What the disks of a guest take of the host in sum, those included that were plugged in. QEMU reports the first write beyond a
 * threshold of each file: each gets a part of what is left, and at each report what is left is divided anew. So nothing has to be polled, and
 * the sum cannot exceed the limit by more than 64 KiB for each disk.
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
      else this.#setThresholds()
    })
  }

  #setThresholds(): void {
    const open = [...this.#files.values()].filter(({ node }) => !this.#left.has(node))
    const step = Math.max(LEAST_STEP, Math.floor((this.#limitBytes - this.#sum()) / open.length))
    for (const { node, path } of open) {
      const threshold = { 'node-name': node, 'write-threshold': sizeOf(path) + step }
      // Not waited for: commands are obeyed in their order. Where there is no such disk, nothing is written to it.
      this.#monitor?.execute('block-set-write-threshold', threshold).catch(() => {})
    }
  }

  /** @param grown a file that is about to have that size. */
  #sum(grown?: { readonly node: string; readonly size: number }): number {
    let sum = 0
    for (const { node, path, baseBytes = 0 } of this.#files.values()) {
      const size = Math.max(sizeOf(path), grown?.node === node ? grown.size : 0)
      sum += Math.max(0, size - baseBytes)
    }
    return sum
  }
}

/** The size of a regular file. A block device has its own space. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
