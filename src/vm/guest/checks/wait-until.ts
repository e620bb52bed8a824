import { setTimeout as sleep } from 'node:timers/promises'
import { formatDuration } from '../../../common/duration.js'
import { type Evidence, VMError, vmError } from '../../../errors.js'
import { watchTrouble } from '../../watch/guest-trouble.js'
import type { GuestHandle } from '../guest-handle.js'
import { explainOf, Invariants, runCheck } from '../invariants.js'
import { type Check, type CheckOutcome, describeExpectation } from './check.js'

/** One look, milliseconds since the wait began. */
export interface Attempt {
  readonly atMs: number
  readonly received: string
}

export interface WaitOptions {
  readonly timeoutMs: number
  /** What to do about a timeout. @default to wait longer */
  readonly timeoutHint?: string | undefined
  /** The first pause between two looks; later ones are longer, up to a second. @default 50 */
  readonly intervalMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Waits until the check is not met. @default false */
  readonly negate?: boolean | undefined
}

export interface PollResult<T = unknown> {
  /** Whether what was waited for came (with `negate`: that the check is not met). */
  readonly isMet: boolean
  readonly outcome: CheckOutcome<T>
  readonly attempts: readonly Attempt[]
  readonly elapsedMs: number
  /** Why the guest is lost, where that ended the wait. */
  readonly lost?: VMError
}

const FIRST_INTERVAL_MS = 50
const MOST_INTERVAL_MS = 1000
/** Of what is known without asking the guest. */
const MOST_LOCAL_INTERVAL_MS = 100
const BACK_OFF = 1.5
/** A look that waits in the guest comes back at least this often, milliseconds: for the call log. */
const MOST_HOLD_MS = 5000
/** While there are invariants, which are looked at in between. */
const MOST_WATCHED_HOLD_MS = 1000
/** What it may take until such a look's answer is here, milliseconds. */
const ANSWER_MS = 150
const EXPLAIN_MS = 5000
/** The first look gets this long however short the limit is: without it there is nothing to tell. */
const FIRST_LOOK_MS = 1500
const KEPT_ATTEMPTS = 50
const SHOWN_ATTEMPTS = 6
const SERIAL_LINES = 20

/** A guest that answers so may answer otherwise in a moment: it reboots, or its server is started again. */
const MAY_PASS = ['SSH_REFUSED', 'SSH_CLOSED', 'AGENT_UNAVAILABLE', 'COMMAND_FAILED', 'COMMAND_TIMEOUT']

/**
 * Waits until a check is met, and gives the last look. A guest that is lost, time that is up and an outcome that
 * cannot come any more end it too, without an error.
 */
export async function pollCheck<T>(
  vm: GuestHandle,
  check: Check<T>,
  options: WaitOptions,
): Promise<PollResult<T>> {
  const { timeoutMs, negate = false } = options
  const startedAt = performance.now()
  const elapsedMs = () => performance.now() - startedAt
  const attempts: Attempt[] = []
  let outcome: CheckOutcome<T> = { isMet: negate, received: 'nothing: the first look did not end in time' }
  const timeUp = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const endAfter = (ms: number) => {
    timer = setTimeout(() => {
      if (attempts.length === 0 && elapsedMs() < FIRST_LOOK_MS) endAfter(FIRST_LOOK_MS - elapsedMs())
      else timeUp.abort()
    }, ms)
  }
  if (Number.isFinite(timeoutMs)) endAfter(timeoutMs)
  const trouble =
    check.needsGuest === false
      ? undefined
      : watchTrouble(vm.serial, { lost: vm.lost, graceMs: check.lossGraceMs })
  const stops = [timeUp.signal, options.signal, trouble?.signal]
  const signal = AbortSignal.any(stops.filter((stop) => stop !== undefined))
  const invariants = Invariants.of(vm)
  let intervalMs = options.intervalMs ?? FIRST_INTERVAL_MS
  const mostIntervalMs = check.needsGuest === false ? MOST_LOCAL_INTERVAL_MS : MOST_INTERVAL_MS
  const end = async (lost?: VMError): Promise<PollResult<T>> => {
    const isMet = lost === undefined && attempts.length > 0 && outcome.isMet !== negate
    const more = isMet || lost !== undefined ? [] : await explain(vm, check)
    const evidence = [...(outcome.evidence ?? []), ...more]
    const last = { ...outcome, ...(evidence.length > 0 && { evidence }) }
    return { isMet, outcome: last, attempts, elapsedMs: elapsedMs(), ...(lost && { lost }) }
  }
  try {
    for (;;) {
      options.signal?.throwIfAborted()
      if (check.needsGuest !== false) {
        await invariants.verify(`while waiting for ${describeExpectation(check, negate)}`, signal)
      }
      const atMs = elapsedMs()
      const mostHoldMs = invariants.areWatched ? MOST_WATCHED_HOLD_MS : MOST_HOLD_MS
      const holdMs = Math.max(0, Math.min(mostHoldMs, timeoutMs - atMs - ANSWER_MS))
      try {
        outcome = await runCheck(vm, check, signal, { holdMs, until: !negate })
      } catch (error) {
        options.signal?.throwIfAborted()
        if (trouble?.signal.aborted) return await end(trouble.signal.reason as VMError)
        if (timeUp.signal.aborted) return await end()
        if (error instanceof VMError && error === vm.lost.reason) return await end(error)
        if (!(error instanceof VMError) || !MAY_PASS.includes(error.code)) throw error
        outcome = { isMet: negate, received: describeError(error) }
      }
      attempts.push({ atMs, received: outcome.received })
      if (attempts.length > KEPT_ATTEMPTS) attempts.shift()
      if (outcome.isMet !== negate || (!negate && outcome.never !== undefined)) return await end()
      await sleep(intervalMs, undefined, { signal }).catch(() => {})
      intervalMs = Math.min(intervalMs * BACK_OFF, Math.max(mostIntervalMs, intervalMs))
      options.signal?.throwIfAborted()
      if (trouble?.signal.aborted) return await end(trouble.signal.reason as VMError)
      if (timeUp.signal.aborted || elapsedMs() >= timeoutMs) return await end()
    }
  } finally {
    clearTimeout(timer)
    trouble?.stop()
  }
}

/**
 * Waits until a check is met.
 *
 * @throws {GuestError} WAIT_TIMEOUT when the time is up; WAIT_FAILED as soon as it cannot be met any more; what
 *   the guest is lost by (GUEST_PANICKED, GUEST_STOPPED, GUEST_FAILED, QEMU_DIED, …) at once.
 */
export async function waitUntil<T>(
  vm: GuestHandle,
  check: Check<T>,
  options: WaitOptions,
): Promise<{ readonly outcome: CheckOutcome<T>; readonly attempts: readonly Attempt[] }> {
  const result = await pollCheck(vm, check, options)
  if (result.isMet) return result
  const expected = describeExpectation(check, options.negate)
  const { outcome, attempts, elapsedMs, lost } = result
  const log = { label: 'Call log', text: describeAttempts(result) }
  if (lost !== undefined) {
    const text = `for ${expected}, for ${formatDuration(elapsedMs)}; the last look found ${outcome.received}`
    const looks = attempts.length > 0 ? [log] : []
    throw lost.withEvidence([{ label: 'What was waited for', text }, ...looks, serialEvidence(vm)])
  }
  const isNever = options.negate !== true && outcome.never !== undefined
  throw vmError(isNever ? 'WAIT_FAILED' : 'WAIT_TIMEOUT', {
    summary: isNever
      ? `Gave up waiting for ${expected} after ${formatDuration(elapsedMs)}: ${outcome.never}.`
      : `Waited ${formatDuration(elapsedMs)} in vain for ${expected}.`,
    expected,
    got: outcome.received,
    evidence: [...(outcome.evidence ?? []), log, serialEvidence(vm)],
    hint: isNever
      ? 'the evidence above tells why; what was found does not change by waiting.'
      : (options.timeoutHint ??
        'See above what there was instead; where it only takes longer, set a longer `timeout`.'),
  })
}

/** The last looks, a line each; looks that found the same are put together. */
export function describeAttempts({
  attempts,
  elapsedMs,
}: Pick<PollResult, 'attempts' | 'elapsedMs'>): string {
  const lines: string[] = []
  for (let index = 0; index < attempts.length; index++) {
    const { atMs, received } = attempts[index] as Attempt
    let times = 1
    while (attempts[index + 1]?.received === received) {
      times++
      index++
    }
    const [first = '', ...rest] = received.split('\n')
    const text = rest.length === 0 ? first : `${first} …`
    lines.push(`after ${formatDuration(atMs)}: ${text}${times > 1 ? ` (${times} times)` : ''}`)
  }
  const shown = lines.slice(-SHOWN_ATTEMPTS)
  if (shown.length < lines.length) shown.unshift('…')
  return [...shown, `ended after ${formatDuration(elapsedMs)}`].join('\n')
}

function serialEvidence(vm: GuestHandle): Evidence {
  const text = vm.serial.tail(SERIAL_LINES).join('\n')
  return { label: 'Serial console, last lines', text: text || '(nothing was printed)' }
}

async function explain(vm: GuestHandle, check: Check): Promise<readonly Evidence[]> {
  if (!vm.isRunning) return []
  const signal = AbortSignal.timeout(EXPLAIN_MS)
  return explainOf(vm, check, signal).catch(() => [])
}

function describeError({ details }: VMError): string {
  return `${details.summary}${details.got === undefined ? '' : ` (${details.got})`}`
}
