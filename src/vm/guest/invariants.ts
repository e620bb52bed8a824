import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { raceSignal, withDeadline } from '../../common/deadline.js'
import { formatDuration } from '../../common/duration.js'
import { type Evidence, UsageError, VMError, vmError } from '../../errors.js'
import type { Check, CheckOutcome, LongPoll } from './checks/check.js'
import { type CheckLike, toCheck } from './checks/combined.js'
import type { GuestHandle } from './guest-handle.js'

/** What `vm.always()` gives. `await using` looks a last time at the end of its block. */
export interface Invariant extends AsyncDisposable {
  readonly name: string
  /**
   * Looks now.
   * @throws {GuestError} INVARIANT_BROKEN
   */
  check(): Promise<void>
  /** Looks no more. Safe to call again. */
  stop(): void
}

interface Entry {
  readonly name: string
  readonly check: Check
  /** What happened since it was last seen to hold. */
  happened: string[]
  goodAt: number
  breach: VMError | undefined
}

/** How long one look may take on a host with KVM, milliseconds. */
const LOOK_MS = 10_000
const SERIAL_LINES = 20
/** Between two looks of a wait that has nothing else to ask the guest, milliseconds. */
const PAUSE_MS = 1000
const KEPT_HAPPENINGS = 50

/** True in what a check runs: its own commands are not ones around which checks are run. */
const inCheck = new AsyncLocalStorage<boolean>()

/** Looks once, so that the commands of the look are not taken for the author's. */
export function runCheck<T>(
  vm: GuestHandle,
  check: Check<T>,
  signal: AbortSignal,
  patience?: LongPoll,
): Promise<CheckOutcome<T>> {
  return inCheck.run(true, () => raceSignal(check.run(vm, signal, patience), signal))
}

/** What a check has to say about why it is not met. */
export async function explainOf(
  vm: GuestHandle,
  check: Check,
  signal: AbortSignal,
): Promise<readonly Evidence[]> {
  if (check.explain === undefined) return []
  const explaining = inCheck.run(true, () => check.explain?.(vm, signal) ?? Promise.resolve([]))
  return raceSignal(explaining, signal)
}

const ofGuest = new WeakMap<GuestHandle, Invariants>()

/** What is to hold of a guest all the time. */
export class Invariants {
  readonly #vm: GuestHandle
  readonly #entries = new Set<Entry>()

  private constructor(vm: GuestHandle) {
    this.#vm = vm
  }

  static of(vm: GuestHandle): Invariants {
    const invariants = ofGuest.get(vm) ?? new Invariants(vm)
    ofGuest.set(vm, invariants)
    return invariants
  }

  /** Whether there are any that are to be looked at here. */
  get areWatched(): boolean {
    return this.#entries.size > 0 && inCheck.getStore() !== true
  }

  async add<Guest extends GuestHandle>(name: string, like: CheckLike<unknown, Guest>): Promise<Invariant> {
    const check = toCheck(like, `'${name}'`)
    const entry: Entry = { name, check, happened: [], goodAt: performance.now(), breach: undefined }
    await this.#look(entry, 'at the beginning', undefined)
    this.#entries.add(entry)
    const stop = () => void this.#entries.delete(entry)
    return {
      name,
      stop,
      check: () => this.#look(entry, 'when asked for', undefined),
      [Symbol.asyncDispose]: async () => {
        const isToLook = this.#entries.has(entry) && entry.breach === undefined && isUsable(this.#vm)
        stop()
        if (isToLook) await this.#look(entry, 'at the end', undefined)
      },
    }
  }

  /** Does something with the guest, and looks before and after it. */
  async around<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (!this.areWatched) return work()
    await this.verify(`before ${what}`, signal)
    for (const { happened } of this.#entries) {
      happened.push(what)
      if (happened.length > KEPT_HAPPENINGS) happened.shift()
    }
    try {
      return await work()
    } finally {
      // A breach tells more than the failure of a command that came of it.
      await this.verify(`after ${what}`, signal)
    }
  }

  /**
   * Looks at all of them.
   * @throws {GuestError} INVARIANT_BROKEN for the first that does not hold; again each time until it is stopped.
   */
  async verify(when: string, signal: AbortSignal | undefined): Promise<void> {
    if (!this.areWatched) return
    for (const entry of [...this.#entries]) await this.#look(entry, when, signal)
  }

  /**
   * Looks at all of them again and again, until the signal aborts.
   * @throws {GuestError} INVARIANT_BROKEN
   */
  async keepLooking(when: string, signal: AbortSignal): Promise<void> {
    while (this.areWatched && !signal.aborted) {
      await this.verify(when, signal)
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
    }
  }

  async #look(entry: Entry, when: string, signal: AbortSignal | undefined): Promise<void> {
    if (entry.breach !== undefined) throw entry.breach
    // What a lost guest does is told by the error of its loss.
    if (!isUsable(this.#vm) || signal?.aborted) return
    const outcome = await this.#try(entry.check, signal)
    if (outcome === undefined) return
    if (outcome.isMet) {
      entry.happened = []
      entry.goodAt = performance.now()
      return
    }
    entry.breach ??= await this.#explain(entry, when, outcome)
    throw entry.breach
  }

  /** Gives nothing when the guest was lost, or the caller gave up, over it. */
  async #try(check: Check, signal: AbortSignal | undefined): Promise<CheckOutcome | undefined> {
    const vm = this.#vm
    const timeoutMs = LOOK_MS * vm.timeFactor
    const late = () => new CheckTimeout()
    try {
      return await withDeadline({ timeoutMs, signal, onTimeout: late }, (inner) => runCheck(vm, check, inner))
    } catch (error) {
      if (signal?.aborted || vm.lost.aborted) return undefined
      if (error instanceof CheckTimeout)
        return { isMet: false, received: `no answer within ${formatDuration(timeoutMs)}` }
      if (!(error instanceof VMError) || error instanceof UsageError) throw error
      return { isMet: false, received: error.details.summary }
    }
  }

  async #explain(entry: Entry, when: string, outcome: CheckOutcome): Promise<VMError> {
    const { name, check, happened, goodAt } = entry
    const sinceMs = performance.now() - goodAt
    const signal = AbortSignal.timeout(LOOK_MS)
    const more = await explainOf(this.#vm, check, signal).catch(() => [])
    const isFirst = when === 'at the beginning'
    return vmError('INVARIANT_BROKEN', {
      summary: isFirst
        ? `'${name}' does not hold to begin with.`
        : `'${name}' does not hold any more: seen ${when}.`,
      expected: check.expected,
      got: outcome.received,
      evidence: [
        {
          label: `Since it was last seen to hold, ${formatDuration(sinceMs)} before`,
          text: isFirst ? '' : happened.join('\n') || '(no command was run)',
        },
        ...(outcome.evidence ?? []),
        ...more,
        { label: 'Serial console, last lines', text: this.#vm.serial.tail(SERIAL_LINES).join('\n') },
      ],
      hint: isFirst
        ? 'wait for it first, with `vm.waitFor`.'
        : 'what happened since it last held broke it. Where that is meant, call `stop()` on what `vm.always()` gave before.',
    })
  }
}

class CheckTimeout extends Error {}

function isUsable(vm: GuestHandle): boolean {
  return vm.isRunning && !vm.lost.aborted
}
