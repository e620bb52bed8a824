import { availableParallelism } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { currentHolder } from '../budget/holder.js'
import { raceSignal } from '../common/deadline.js'
import type { BootedGuest } from '../vm/boot/boot.js'
import { isInRunner } from '../vm/workspace/exit-guard.js'
import { continueGuest, pauseGuest } from './pause.js'
import { canRaise, setNiceness } from './priority.js'

/**
 * Time after which an unused standby is disposed of, milliseconds: its memory may be needed
 * elsewhere.
 */
const IDLE_MS = 50_000
/**
 * Time limit for making a standby, in milliseconds. It runs at the lowest priority, so on a busy
 * host it could hold its memory without end.
 */
const BUILD_TIMEOUT_MS = 60_000
/**
 * Time for which standbys are kept after the last guest of a process has ended, in milliseconds.
 * Not used in a Vitest worker.
 */
const GRACE_MS = 250
/**
 * Delay before the next standby is started, milliseconds: longer than the first command of the new
 * guest takes.
 */
const REFILL_AFTER_MS = 30

/** Describes how to start a standby. */
export interface StandbyRequest {
  /** Standbys with equal fingerprints are interchangeable. */
  readonly fingerprint: string
  /** If true, the files of the guest are in a folder that the user chose and may remove. */
  readonly isTemporary: boolean
  /** Starts the guest if the host has capacity left. */
  readonly start: (callbacks: StandbyCallbacks) => Promise<BootedGuest>
}

/** Callbacks and signal for a standby that is being started. */
export interface StandbyCallbacks {
  /** Called with the process id of QEMU as soon as it runs. */
  readonly onProcess: (pid: number) => void
  /** Called when the capacity of the standby is needed for a guest of a test, in any process. */
  readonly onEvict: () => void
  readonly signal: AbortSignal
}

interface Standby {
  readonly fingerprint: string
  /** Resolves when the guest can be resumed; rejects as soon as the attempt is given up. */
  readonly guest: Promise<BootedGuest>
  /** Resolves when the guest has booted; rejects after everything is released. */
  readonly started: Promise<BootedGuest>
  isReady: boolean
  /** Restores normal priority and ends the wait for background work. */
  hurry(): void
  /** Stops the attempt and disposes of the guest. */
  giveUp(reason: string): void
}

/**
 * Paused guests that were started while a test ran, so the next test only resumes one. They use CPU
 * time that the tests leave over, and end with this process.
 */
export class StandbyPool {
  readonly #standbys: Standby[] = []
  readonly #timers = new Map<Standby, NodeJS.Timeout>()
  /** Number of requests for guests with each fingerprint. */
  readonly #requests = new Map<string, number>()
  /** Number of standbys to hold: more if tests take them before they are ready. */
  #target = 1
  #inUse = 0
  #grace: NodeJS.Timeout | undefined
  #refilling: NodeJS.Timeout | undefined
  /** A worker of Vitest lives as long as its test files and is then ended. */
  readonly #isInRunner = isInRunner()

  /**
   * Takes a standby, waiting for it if it is still being started. Returns undefined if none is
   * usable.
   */
  async take(fingerprint: string, signal: AbortSignal | undefined): Promise<BootedGuest | undefined> {
    this.#requests.set(fingerprint, (this.#requests.get(fingerprint) ?? 0) + 1)
    clearTimeout(this.#grace)
    for (;;) {
      const standby =
        this.#standbys.find((standby) => standby.fingerprint === fingerprint && standby.isReady) ??
        this.#standbys.find((standby) => standby.fingerprint === fingerprint)
      if (standby === undefined) return undefined
      this.#remove(standby)
      if (!standby.isReady) this.#target = Math.min(this.#target + 1, availableParallelism())
      standby.hurry()
      const guest = await raceSignal(standby.guest, signal).catch((error: unknown) => {
        if (!signal?.aborted) return undefined
        void standby.guest.then(({ vm }) => vm.dispose()).catch(() => {})
        throw error
      })
      if (guest !== undefined && (await useGuest(guest, signal))) return guest
      void guest?.vm.dispose().catch(() => {})
    }
  }

  /**
   * Starts standbys for the next test while this guest is in use, and counts the guest until it is
   * disposed of.
   */
  follow(guest: BootedGuest, order: StandbyRequest, choice: boolean | undefined): void {
    this.#inUse++
    void guest.disposed.then(() => this.#onDisposed())
    if (!(choice ?? this.#isLikely(order))) return
    // The first command in the new guest must not wait for this.
    clearTimeout(this.#refilling)
    this.#refilling = setTimeout(() => this.#refill(order), REFILL_AFTER_MS)
    this.#refilling.unref()
  }

  /**
   * Returns true if another guest with this fingerprint is likely to be requested and its folder is
   * permanent. A worker thread can be terminated without notice, and its standbys would leave files
   * behind.
   */
  #isLikely({ fingerprint, isTemporary }: StandbyRequest): boolean {
    return !isTemporary && isMainThread && (this.#isInRunner || (this.#requests.get(fingerprint) ?? 0) > 1)
  }

  /** Disposes of all standbys. */
  async clear(): Promise<void> {
    clearTimeout(this.#refilling)
    await Promise.all(this.#standbys.splice(0).map((standby) => this.#discard(standby)))
  }

  #refill(order: StandbyRequest): void {
    // Standbys with other fingerprints are no longer needed.
    for (const other of this.#standbys.filter(({ fingerprint }) => fingerprint !== order.fingerprint)) {
      this.#remove(other)
      void this.#discard(other)
    }
    while (this.#standbys.length < this.#target) this.#add(order)
  }

  #add({ fingerprint, start }: StandbyRequest): void {
    let pid: number | undefined
    const hurried = new AbortController()
    const isNiced = canRaise()
    const givenUp = new AbortController()
    const giveUp = (reason: string) => givenUp.abort(new Error(reason))
    // The timer is not cleared when a test takes the standby: starting another guest is faster than
    // waiting any longer.
    const buildTimer = setTimeout(() => giveUp('starting the standby took too long'), BUILD_TIMEOUT_MS)
    buildTimer.unref()
    const started = start({
      onProcess: (started) => {
        pid = started
        if (isNiced && !hurried.signal.aborted) setNiceness(started, 19)
      },
      // A standby that was taken in the meantime is in use.
      onEvict: () => this.#standbys.includes(standby) && void this.#discard(standby),
      signal: givenUp.signal,
    })
    const standby: Standby = {
      fingerprint,
      isReady: false,
      hurry: () => {
        if (isNiced && pid !== undefined) setNiceness(pid, 0)
        hurried.abort()
      },
      giveUp,
      started,
      guest: raceSignal(started, givenUp.signal)
        .then(async (guest) => {
          await raceSignal(pauseGuest(guest, hurried.signal), givenUp.signal)
          standby.isReady = true
          this.#startIdleTimer(standby)
          return guest
        })
        .catch(async (error: unknown) => {
          // A start that ignores its signal must not delay a test that waits for the standby.
          void started.then(({ vm }) => vm.dispose()).catch(() => {})
          throw error
        })
        .finally(() => clearTimeout(buildTimer)),
    }
    this.#standbys.push(standby)
    standby.guest.catch(() => this.#remove(standby)) // the next start reports the error
  }

  #startIdleTimer(standby: Standby): void {
    if (!this.#standbys.includes(standby)) return
    const timer = setTimeout(() => {
      this.#remove(standby)
      void this.#discard(standby)
    }, IDLE_MS)
    timer.unref()
    this.#timers.set(standby, timer)
  }

  #onDisposed(): void {
    this.#inUse--
    if (this.#inUse > 0 || this.#isInRunner) return
    clearTimeout(this.#grace)
    this.#grace = setTimeout(() => void this.clear(), GRACE_MS)
  }

  #remove(standby: Standby): void {
    const index = this.#standbys.indexOf(standby)
    if (index >= 0) this.#standbys.splice(index, 1)
    clearTimeout(this.#timers.get(standby))
    this.#timers.delete(standby)
  }

  async #discard(standby: Standby): Promise<void> {
    this.#remove(standby)
    if (!standby.isReady) standby.giveUp('the standby is no longer needed')
    await standby.started.then(({ vm }) => vm.dispose()).catch(() => {})
  }
}

/** Resumes a standby and takes over its lease. Returns false if the guest does not respond. */
async function useGuest(guest: BootedGuest, signal: AbortSignal | undefined): Promise<boolean> {
  const [isAlive] = await Promise.all([
    continueGuest(guest, signal),
    guest.lease.take(currentHolder().name).catch(() => {}),
  ])
  return isAlive
}
