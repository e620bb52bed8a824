import { availableParallelism } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { currentHolder } from '../budget/holder.js'
import { raceSignal } from '../common/deadline.js'
import type { BootedGuest } from '../vm/boot/boot.js'
import { isInRunner } from '../vm/workspace/exit-guard.js'
import { continueGuest, pauseGuest } from './pause.js'
import { canRaise, setNiceness } from './priority.js'

/** A guest that nobody takes for this long is thrown away: its memory may be of more use elsewhere. */
const IDLE_MS = 50_000
/**
 * How long making a standby may take, milliseconds. It runs at the lowest priority, so on a busy host it may take for ever, and
 * hold its memory meanwhile.
 */
const MAKING_MS = 60_000
/** How long after its last guest a program that is no test runner may come to want another, milliseconds. */
const GRACE_MS = 250
/** How long a guest is used before the next one is begun, milliseconds: a command takes less. */
const REFILL_AFTER_MS = 30

/** How a guest is made that can stand by. */
export interface StandbyOrder {
  /** Which guests are alike: one of them will do for any of them. */
  readonly key: string
  /** Its files are in a folder of the author's, who may remove it. */
  readonly isTemporary: boolean
  /** Starts one, if there is room for it beside all others. */
  readonly start: (making: StandbyMaking) => Promise<BootedGuest>
}

/** What is to be known of a guest while it is made, and asked of it. */
export interface StandbyMaking {
  /** Gets its process as soon as there is one. */
  readonly onProcess: (pid: number) => void
  /** Called when its room is wanted for a guest that is to be used, by whichever process. */
  readonly onEvict: () => void
  readonly signal: AbortSignal
}

interface Standby {
  readonly key: string
  /** Settles when the guest is ready to be resumed; rejects as soon as making it is given up. */
  readonly guest: Promise<BootedGuest>
  /** Settles when the guest has booted, or nothing is left of it. */
  readonly started: Promise<BootedGuest>
  isReady: boolean
  /** Lets it go on at full speed. */
  hurry(): void
  /** Stops making it and disposes of its guest. */
  giveUp(reason: string): void
}

/**
 * Guests that were made ready while a test ran, and stopped: the next test has only to let one go on. They are made with
 * what processor time the tests leave over, and are gone with this process.
 */
export class StandbyPool {
  readonly #standbys: Standby[] = []
  readonly #timers = new Map<Standby, NodeJS.Timeout>()
  /** How many times guests of a key were asked for. */
  readonly #asked = new Map<string, number>()
  /** How many are to stand by: more where tests come faster than guests. */
  #wanted = 1
  #inUse = 0
  #grace: NodeJS.Timeout | undefined
  #refilling: NodeJS.Timeout | undefined
  /** A worker of Vitest lives as long as its test files, and is ended. */
  readonly #isInRunner = isInRunner()

  /** Gives one that stands by, or is being made ready; undefined where there is none that could be used. */
  async take(key: string, signal: AbortSignal | undefined): Promise<BootedGuest | undefined> {
    this.#asked.set(key, (this.#asked.get(key) ?? 0) + 1)
    clearTimeout(this.#grace)
    for (;;) {
      const standby =
        this.#standbys.find((one) => one.key === key && one.isReady) ??
        this.#standbys.find((one) => one.key === key)
      if (standby === undefined) return undefined
      this.#remove(standby)
      if (!standby.isReady) this.#wanted = Math.min(this.#wanted + 1, availableParallelism())
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

  /** A guest is in use from now on, for which others may be made ready meanwhile. */
  follow(guest: BootedGuest, order: StandbyOrder, choice: boolean | undefined): void {
    this.#inUse++
    void guest.disposed.then(() => this.#onDisposed())
    if (!(choice ?? this.#isLikely(order))) return
    // The first thing that is done with a guest is not to wait for this.
    clearTimeout(this.#refilling)
    this.#refilling = setTimeout(() => this.#refill(order), REFILL_AFTER_MS)
    this.#refilling.unref()
  }

  /**
   * Whether another such guest is likely to be wanted, and its files have a place that stays. A thread can be ended without
   * being told: what stands by then would leave its files.
   */
  #isLikely({ key, isTemporary }: StandbyOrder): boolean {
    return !isTemporary && isMainThread && (this.#isInRunner || (this.#asked.get(key) ?? 0) > 1)
  }

  /** Throws away all that stand by. */
  async clear(): Promise<void> {
    clearTimeout(this.#refilling)
    await Promise.all(this.#standbys.splice(0).map((standby) => this.#discard(standby)))
  }

  #refill(order: StandbyOrder): void {
    // Guests of another kind have had their time.
    for (const other of this.#standbys.filter(({ key }) => key !== order.key)) {
      this.#remove(other)
      void this.#discard(other)
    }
    while (this.#standbys.length < this.#wanted) this.#add(order)
  }

  #add({ key, start }: StandbyOrder): void {
    let pid: number | undefined
    const hurried = new AbortController()
    const isPutLast = canRaise()
    const givenUp = new AbortController()
    const giveUp = (reason: string) => givenUp.abort(new Error(reason))
    // It stays when a test takes the standby: that test starts another guest sooner than it waits any longer.
    const making = setTimeout(() => giveUp('making the standby took too long'), MAKING_MS)
    making.unref()
    const started = start({
      onProcess: (found) => {
        pid = found
        if (isPutLast && !hurried.signal.aborted) setNiceness(found, 19)
      },
      // One that was taken meanwhile is in use itself.
      onEvict: () => this.#standbys.includes(standby) && void this.#discard(standby),
      signal: givenUp.signal,
    })
    const standby: Standby = {
      key,
      isReady: false,
      hurry: () => {
        if (isPutLast && pid !== undefined) setNiceness(pid, 0)
        hurried.abort()
      },
      giveUp,
      started,
      guest: raceSignal(started, givenUp.signal)
        .then(async (guest) => {
          await raceSignal(pauseGuest(guest, hurried.signal), givenUp.signal)
          standby.isReady = true
          this.#startIdling(standby)
          return guest
        })
        .catch(async (error: unknown) => {
          // A start that ignores its signal must not hold up who waits for the standby.
          void started.then(({ vm }) => vm.dispose()).catch(() => {})
          throw error
        })
        .finally(() => clearTimeout(making)),
    }
    this.#standbys.push(standby)
    standby.guest.catch(() => this.#remove(standby)) // the next start finds out what is wrong
  }

  #startIdling(standby: Standby): void {
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

/** Lets a guest that stood by go on, as one that is in use. Gives whether it is there. */
async function useGuest(guest: BootedGuest, signal: AbortSignal | undefined): Promise<boolean> {
  const [isThere] = await Promise.all([
    continueGuest(guest, signal),
    guest.lease.take(currentHolder().name).catch(() => {}),
  ])
  return isThere
}
