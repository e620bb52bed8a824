import type { ProcessLock } from '../common/locks/folder-lock.js'
import { type Entry, formatEntry } from './entry.js'
import { writeLease } from './lease-files.js'
import { type GuestKind, learnUsage } from './usage.js'

interface LeaseUses {
  /** Of which kind its guest is, to know better of the next. */
  readonly kind?: GuestKind | undefined
  /** Called when a guest that stands by is to make room. */
  readonly onEvict?: (() => void) | undefined
  readonly onRelease?: (() => Promise<void>) | undefined
}

/** A guest's place in the budget, until it is released or its process ends. */
export class Lease {
  #waited: { readonly ms: number; readonly text: string } | undefined
  #entry: Entry
  #lock: ProcessLock
  readonly #uses: LeaseUses
  #changes: Promise<void> = Promise.resolve()
  #isReleased = false

  constructor(entry: Entry, lock: ProcessLock, uses: LeaseUses = {}) {
    this.#entry = entry
    this.#lock = lock
    this.#uses = uses
  }

  get entry(): Entry {
    return this.#entry
  }

  /** How long its guest had to wait for room, and for what; undefined where it had not. */
  get waited(): { readonly ms: number; readonly text: string } | undefined {
    return this.#waited
  }

  noteWait(ms: number, text: string): void {
    this.#waited = { ms, text }
  }

  /** Its QEMU runs: what it takes is measured from now on. */
  noteProcess(qemuPid: number): void {
    void this.change(() => ({ qemuPid })).catch(() => {})
  }

  /** It is started, or was taken from those that stand by: others may be started. */
  noteReady(): void {
    void this.change(({ state }) => (state === 'starts' ? { state: 'runs' } : {})).catch(() => {})
  }

  /** A guest that stood by is used from now on, by `holder`. */
  async take(holder: string): Promise<void> {
    await this.change(() => ({ state: 'runs', holder }))
  }

  /** Notes what it takes, which tells what to think of the next such guest. For right before its end. */
  noteUsage(): void {
    const { qemuPid } = this.#entry
    if (this.#uses.kind !== undefined && qemuPid !== undefined)
      void learnUsage(this.#uses.kind, qemuPid).catch(() => {})
  }

  /** Changes what others know of it: the new is there before the old is gone. */
  change(next: (entry: Entry) => Partial<Entry>): Promise<void> {
    const changing = this.#changes.then(async () => {
      const entry = { ...this.#entry, ...next(this.#entry) }
      if (this.#isReleased || formatEntry(entry) === formatEntry(this.#entry)) return
      const before = this.#lock
      this.#lock = await writeLease(entry, entry.state === 'standby' ? this.#uses.onEvict : undefined)
      this.#entry = entry
      await before.release()
    })
    this.#changes = changing.catch(() => {}) // then others know of it what they knew before
    return changing
  }

  async release(): Promise<void> {
    await this.#changes
    if (this.#isReleased) return
    this.#isReleased = true
    // What still knows of it finds nothing left in it.
    this.#entry = { ...this.#entry, expectedMiB: 0, maxMiB: 0 }
    await this.#lock.release()
    await this.#uses.onRelease?.()
  }
}
