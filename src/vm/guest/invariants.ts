import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { locateErrors } from '../../common/calls/calls.js'
import { raceSignal, withDeadline } from '../../common/deadline.js'
import { formatDuration } from '../../common/duration.js'
import { type Evidence, UsageError, VMError, vmError } from '../../errors.js'
import { CommandGroup } from '../machine/transcript.js'
import {
  type Check,
  type CheckOutcome,
  type LongPoll,
  shortenEvidence,
  shortenOutcome,
} from './checks/check.js'
import { type CheckLike, toCheck } from './checks/combined.js'
import { groupCommands } from './command-groups.js'
import type { GuestHandle, InvariantChecks } from './guest-handle.js'

/**
 * Handle returned by `vm.always()`. With `await using`, the check runs once more at the end of the
 * block.
 */
export interface Invariant extends AsyncDisposable {
  /** Name passed to `vm.always()`, as errors report it. */
  readonly name: string
  /**
   * Runs the check now.
   * @throws {GuestError} INVARIANT_BROKEN
   */
  check(): Promise<void>
  /** Removes the invariant. Idempotent. */
  stop(): void
}

interface Entry {
  readonly name: string
  readonly check: Check
  /** Commands of the check. */
  readonly group: CommandGroup
  /** Commands that were run since the check was last met. */
  commands: string[]
  lastMetAt: number
  violation: VMError | undefined
}

/** Timeout of one check on a host with KVM, in milliseconds. */
const CHECK_TIMEOUT_MS = 10_000
const SERIAL_LINES = 20
/** Pause between two checks during a wait that does not poll the guest itself, in milliseconds. */
const PAUSE_MS = 1000
const MAX_COMMANDS = 50

/** True while a check runs: its own commands do not trigger invariants. */
const inCheck = new AsyncLocalStorage<boolean>()

/** Runs commands of withvm itself, which do not trigger invariants. */
export function runOwnCommands<T>(group: CommandGroup, work: () => T): T {
  return inCheck.run(true, () => groupCommands(group, work))
}

interface CheckRun {
  /** Group of the commands of the check. */
  readonly group: CommandGroup
  readonly signal: AbortSignal
  readonly longPoll?: LongPoll
}

/** Returns true while a check runs. */
export function isInCheck(): boolean {
  return inCheck.getStore() === true
}

/** Runs a check once, such that its commands do not count as commands of the test. */
export function runCheck<T>(
  vm: GuestHandle,
  check: Check<T>,
  { group, signal, longPoll }: CheckRun,
): Promise<CheckOutcome<T>> {
  const run = async () => {
    const outcome = shortenOutcome(await check.run(vm, signal, longPoll))
    group.conclude(outcome.received)
    return outcome
  }
  return runOwnCommands(group, () => raceSignal(run(), signal))
}

/** Returns the evidence of a check that is not met. */
export async function explainCheck(
  vm: GuestHandle,
  check: Check,
  { group, signal }: CheckRun,
): Promise<readonly Evidence[]> {
  if (check.explain === undefined) return []
  const explain = async () => (await check.explain?.(vm, signal)) ?? []
  const explaining = runOwnCommands(group, explain)
  return shortenEvidence(await raceSignal(explaining, signal))
}

/** Invariants of a guest. */
export class Invariants implements InvariantChecks {
  readonly #vm: GuestHandle
  readonly #entries = new Set<Entry>()

  constructor(vm: GuestHandle) {
    this.#vm = vm
  }

  get areActive(): boolean {
    return this.#entries.size > 0 && !isInCheck()
  }

  async add<Guest extends GuestHandle>(name: string, like: CheckLike<unknown, Guest>): Promise<Invariant> {
    const entry: Entry = {
      name,
      check: toCheck(like, `'${name}'`),
      group: new CommandGroup(`invariant '${name}'`),
      commands: [],
      lastMetAt: performance.now(),
      violation: undefined,
    }
    await this.#verifyEntry(entry, 'at the start', undefined)
    this.#entries.add(entry)
    const stop = () => void this.#entries.delete(entry)
    const check = () => locateErrors(check, () => this.#verifyEntry(entry, 'by `check()`', undefined))
    return {
      name,
      stop,
      check,
      [Symbol.asyncDispose]: async () => {
        const shouldCheck = this.#entries.has(entry) && entry.violation === undefined && isUsable(this.#vm)
        stop()
        if (shouldCheck) await this.#verifyEntry(entry, 'at the end of its block', undefined)
      },
    }
  }

  /** Runs `work`, and verifies all invariants before and after it. */
  async around<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (!this.areActive) return work()
    await this.verify(`before ${what}`, signal)
    for (const { commands } of this.#entries) {
      commands.push(what)
      if (commands.length > MAX_COMMANDS) commands.shift()
    }
    try {
      return await work()
    } finally {
      // A broken invariant explains more than the failed command that it caused.
      await this.verify(`after ${what}`, signal)
    }
  }

  async verify(when: string, signal: AbortSignal | undefined): Promise<void> {
    if (!this.areActive) return
    for (const entry of [...this.#entries]) await this.#verifyEntry(entry, when, signal)
  }

  /**
   * Verifies all invariants repeatedly until the signal aborts.
   * @throws {GuestError} INVARIANT_BROKEN
   */
  async poll(when: string, signal: AbortSignal): Promise<void> {
    while (this.areActive && !signal.aborted) {
      await this.verify(when, signal)
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
    }
  }

  async #verifyEntry(entry: Entry, when: string, signal: AbortSignal | undefined): Promise<void> {
    if (entry.violation !== undefined) throw entry.violation
    // The error of its loss describes the state of a lost guest.
    if (!isUsable(this.#vm) || signal?.aborted) return
    const outcome = await this.#runOnce(entry, signal)
    if (outcome === undefined) return
    if (outcome.isMet) {
      entry.commands = []
      entry.lastMetAt = performance.now()
      return
    }
    entry.violation ??= await this.#explain(entry, when, outcome)
    throw entry.violation
  }

  /** Returns undefined if the guest was lost or the caller aborted during the check. */
  async #runOnce(
    { check, group }: Entry,
    signal: AbortSignal | undefined,
  ): Promise<CheckOutcome | undefined> {
    const vm = this.#vm
    const timeoutMs = CHECK_TIMEOUT_MS * vm.timeFactor
    const late = () => new CheckTimeout()
    try {
      return await withDeadline({ timeoutMs, signal, onTimeout: late }, (inner) =>
        runCheck(vm, check, { group, signal: inner }),
      )
    } catch (error) {
      if (signal?.aborted || vm.lost.aborted) return undefined
      if (error instanceof CheckTimeout)
        return { isMet: false, received: `no response within ${formatDuration(timeoutMs)}` }
      if (!(error instanceof VMError) || error instanceof UsageError) throw error
      return { isMet: false, received: error.details.summary }
    }
  }

  async #explain(entry: Entry, when: string, outcome: CheckOutcome): Promise<VMError> {
    const { name, check, group, commands, lastMetAt } = entry
    const sinceMs = performance.now() - lastMetAt
    const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS)
    const more = await explainCheck(this.#vm, check, { group, signal }).catch(() => [])
    const isFirst = when === 'at the start'
    return vmError('INVARIANT_BROKEN', {
      summary: isFirst
        ? `The invariant '${name}' is already broken when \`vm.always()\` is called.`
        : `The invariant '${name}' broke: detected ${when}.`,
      expected: check.expected,
      got: outcome.received,
      evidence: [
        {
          label: `Commands since the last successful check, ${formatDuration(sinceMs)} earlier`,
          text: isFirst ? '' : commands.join('\n') || '(none)',
        },
        ...(outcome.evidence ?? []),
        ...more,
        { label: 'Serial console, last lines', text: this.#vm.serial.recent(SERIAL_LINES).join('\n') },
      ],
      hint: isFirst
        ? 'Wait for the condition with `vm.waitFor` before calling `vm.always()`.'
        : 'Check the commands above. If the change is intended, call `stop()` on the invariant before it.',
    })
  }
}

class CheckTimeout extends Error {}

function isUsable(vm: GuestHandle): boolean {
  return vm.isRunning && !vm.lost.aborted
}
