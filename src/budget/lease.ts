import type { ProcessLock } from '../common/locks/folder-lock.js'
import { type Entry, formatEntry } from './entry.js'
import { writeLease } from './lease-files.js'
import { type GuestKind, recordMemory } from './usage.js'

interface LeaseOptions {
  /** Configuration of the guest, for which the used memory is recorded. */
  readonly kind?: GuestKind | undefined
  /** Called when a standby is to be discarded to free memory. */
  readonly onEvict?: (() => void) | undefined
  readonly onRelease?: (() => Promise<void>) | undefined
}

/** Lease of a guest in the host budget. It ends when it is released or when its process ends. */
export class Lease {
  #waited: { readonly ms: number; readonly text: string } | undefined
  #entry: Entry
  #lock: ProcessLock
  readonly #options: LeaseOptions
  #changes: Promise<void> = Promise.resolve()
  #isReleased = false

  constructor(entry: Entry, lock: ProcessLock, options: LeaseOptions = {}) {
    this.#entry = entry
    this.#lock = lock
    this.#options = options
  }

  get entry(): Entry {
    return this.#entry
  }

  /** Time that the guest waited for capacity, and the reason. Undefined if it did not wait. */
  get waited(): { readonly ms: number; readonly text: string } | undefined {
    return this.#waited
  }

  recordWait(ms: number, text: string): void {
    this.#waited = { ms, text }
  }

  /** Sets the PID of QEMU. The memory of that process is measured from now on. */
  recordProcess(qemuPid: number): void {
    void this.change(() => ({ qemuPid })).catch(() => {})
  }

  /** Changes the state from `starting` to `running`, so that another guest may start. */
  recordReady(): void {
    void this.change(({ state }) => (state === 'starting' ? { state: 'running' } : {})).catch(() => {})
  }

  /** Transfers a standby to `holder`, which uses it from now on. */
  async take(holder: string): Promise<void> {
    await this.change(() => ({ state: 'running', holder }))
  }

  /**
   * Records the used memory as an estimate for later guests of this configuration. Call right
   * before the guest ends.
   */
  recordUsage(): void {
    const { qemuPid } = this.#entry
    if (this.#options.kind !== undefined && qemuPid !== undefined)
      void recordMemory(this.#options.kind, qemuPid).catch(() => {})
  }

  /** Changes the entry. The new entry is written before the old one is removed. */
  change(next: (entry: Entry) => Partial<Entry>): Promise<void> {
    const changing = this.#changes.then(async () => {
      const entry = { ...this.#entry, ...next(this.#entry) }
      if (this.#isReleased || formatEntry(entry) === formatEntry(this.#entry)) return
      const before = this.#lock
      this.#lock = await writeLease(entry, entry.state === 'standby' ? this.#options.onEvict : undefined)
      this.#entry = entry
      await before.release()
    })
    this.#changes = changing.catch(() => {}) // other processes keep seeing the old entry
    return changing
  }

  async release(): Promise<void> {
    await this.#changes
    if (this.#isReleased) return
    this.#isReleased = true
    // Code that still refers to this lease must not count its memory.
    this.#entry = { ...this.#entry, expectedMiB: 0, maxMiB: 0 }
    await this.#lock.release()
    await this.#options.onRelease?.()
  }
}
