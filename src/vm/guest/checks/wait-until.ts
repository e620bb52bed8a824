import { combineSignals } from '../../../common/combine-signals.js'
import { formatDuration } from '../../../common/duration.js'
import { pollUntil } from '../../../common/poll.js'
import { type Evidence, VMError, vmError } from '../../../errors.js'
import { CommandGroup } from '../../machine/transcript.js'
import { watchForFailure } from '../../watch/failure-watch.js'
import type { GuestHandle } from '../guest-handle.js'
import { explainCheck, runCheck } from '../invariants.js'
import { type Check, type CheckOutcome, describeExpectation } from './check.js'

/** One poll; `atMs` is the time since the start of the wait. */
export interface Attempt {
  readonly atMs: number
  readonly received: string
}

export interface WaitOptions {
  readonly timeoutMs: number
  /** Hint of the timeout error. @default advises a longer timeout */
  readonly timeoutHint?: string | undefined
  /** First pause between two polls; later pauses grow up to one second. @default 50 */
  readonly intervalMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** If true, waits until the check is not met. @default false */
  readonly negate?: boolean | undefined
}

export interface PollResult<T = unknown> {
  /** If true, the wait succeeded: the check is met, or with `negate` not met. */
  readonly isMet: boolean
  readonly outcome: CheckOutcome<T>
  readonly attempts: readonly Attempt[]
  readonly elapsedMs: number
  /** Error of the guest's loss, if that ended the wait. */
  readonly lost?: VMError
}

const FIRST_INTERVAL_MS = 50
const MAX_INTERVAL_MS = 1000
/** Maximum pause for checks that do not query the guest. */
const MAX_LOCAL_INTERVAL_MS = 100
/** Maximum duration of one long poll, milliseconds, so that the call log has entries. */
const MAX_HOLD_MS = 5000
/** {@link MAX_HOLD_MS} of the first poll, so that a short wait has an observed value. */
const FIRST_HOLD_MS = 1000
/** {@link MAX_HOLD_MS} while invariants are verified between polls. */
const MAX_HOLD_WITH_INVARIANTS_MS = 1000
/** Time for the result of a long poll to arrive, in milliseconds. */
const RESULT_MARGIN_MS = 150
const EXPLAIN_TIMEOUT_MS = 5000
/**
 * Minimum duration allowed for the first poll, even if the timeout is shorter, so that the error
 * contains an observed value.
 */
const MIN_FIRST_POLL_MS = 1500
const MAX_ATTEMPTS = 50
const SHOWN_ATTEMPTS = 6
const SERIAL_LINES = 20

/** Errors that may be temporary: the guest reboots, or a server in it restarts. */
const TRANSIENT_CODES = [
  'SSH_REFUSED',
  'SSH_CLOSED',
  'AGENT_UNAVAILABLE',
  'COMMAND_FAILED',
  'COMMAND_TIMEOUT',
]

/**
 * Waits until a check is met, and returns the last outcome. Also returns, without an error, when
 * the guest is lost, when the wait times out and when the check can no longer be met.
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
  const group = new CommandGroup(`wait for ${describeExpectation(check, negate)}`)
  let outcome: CheckOutcome<T> = { isMet: negate, received: 'nothing: the first poll did not finish in time' }
  const timeLimit = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const setDeadline = (ms: number) => {
    timer = setTimeout(() => {
      if (attempts.length === 0 && elapsedMs() < MIN_FIRST_POLL_MS)
        setDeadline(MIN_FIRST_POLL_MS - elapsedMs())
      else timeLimit.abort()
    }, ms)
  }
  if (Number.isFinite(timeoutMs)) setDeadline(timeoutMs)
  const failureWatch =
    check.needsGuest === false
      ? undefined
      : watchForFailure(vm.serial, { lost: vm.lost, graceMs: check.lossGraceMs })
  const signal = combineSignals(timeLimit.signal, options.signal, failureWatch?.signal)
  const intervalMs = options.intervalMs ?? FIRST_INTERVAL_MS
  const maxIntervalMs = check.needsGuest === false ? MAX_LOCAL_INTERVAL_MS : MAX_INTERVAL_MS
  const end = async (lost?: VMError): Promise<PollResult<T>> => {
    const isMet = lost === undefined && attempts.length > 0 && outcome.isMet !== negate
    const more = isMet || lost !== undefined ? [] : await explainUnmet(vm, check, group)
    const evidence = [...(outcome.evidence ?? []), ...more]
    const last = { ...outcome, ...(evidence.length > 0 && { evidence }) }
    return { isMet, outcome: last, attempts, elapsedMs: elapsedMs(), ...(lost && { lost }) }
  }
  const poll = async (): Promise<PollResult<T> | undefined> => {
    if (check.needsGuest !== false) {
      await vm.invariants.verify(`while waiting for ${describeExpectation(check, negate)}`, signal)
    }
    const atMs = elapsedMs()
    const maxHoldMs = vm.invariants.areActive
      ? MAX_HOLD_WITH_INVARIANTS_MS
      : attempts.length === 0
        ? FIRST_HOLD_MS
        : MAX_HOLD_MS
    const holdMs = Math.max(0, Math.min(maxHoldMs, timeoutMs - atMs - RESULT_MARGIN_MS))
    try {
      outcome = await runCheck(vm, check, { group, signal, longPoll: { holdMs, until: !negate } })
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof VMError && error === vm.lost.reason) return end(error)
      if (!(error instanceof VMError) || !TRANSIENT_CODES.includes(error.code)) throw error
      outcome = { isMet: negate, received: describeError(error) }
    }
    attempts.push({ atMs, received: outcome.received })
    if (attempts.length > MAX_ATTEMPTS) attempts.shift()
    const isOver = outcome.isMet !== negate || (!negate && outcome.never !== undefined)
    return isOver || elapsedMs() >= timeoutMs ? end() : undefined
  }
  try {
    return await pollUntil(poll, { intervalMs, maxIntervalMs, signal })
  } catch (error) {
    if (error !== signal.reason) throw error
    options.signal?.throwIfAborted()
    return await end(failureWatch?.signal.aborted ? (failureWatch.signal.reason as VMError) : undefined)
  } finally {
    clearTimeout(timer)
    failureWatch?.stop()
  }
}

/**
 * Waits until a check is met.
 *
 * @throws {GuestError} WAIT_TIMEOUT when the wait times out; WAIT_FAILED as soon as the check can
 *   no longer be met; the error of the guest's loss (GUEST_PANICKED, GUEST_STOPPED, GUEST_FAILED,
 *   QEMU_DIED, …) at once.
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
    const text = `for ${expected}, for ${formatDuration(elapsedMs)}; last observed: ${outcome.received}`
    const callLog = attempts.length > 0 ? [log] : []
    throw lost.withEvidence([{ label: 'The test was waiting', text }, ...callLog, serialEvidence(vm, check)])
  }
  const isNever = options.negate !== true && outcome.never !== undefined
  throw vmError(isNever ? 'WAIT_FAILED' : 'WAIT_TIMEOUT', {
    summary: isNever
      ? `Gave up waiting for ${expected} after ${formatDuration(elapsedMs)}: ${outcome.never}.`
      : `Timed out after ${formatDuration(elapsedMs)} waiting for ${expected}.`,
    expected,
    got: outcome.received,
    evidence: [...(outcome.evidence ?? []), log, serialEvidence(vm, check)],
    hint: isNever
      ? 'Check the evidence above: waiting longer does not help.'
      : (options.timeoutHint ??
        'Compare the observed value above with the expected one. If the guest only needs more time, set a longer `timeout`.'),
  })
}

/** Formats the last polls, one per line; consecutive polls with the same result are merged. */
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

/**
 * Returns the last lines of the console: those since the boot, unless the check is about the
 * console.
 */
function serialEvidence({ serial }: GuestHandle, { needsGuest = true }: Check): Evidence {
  const lines = needsGuest ? serial.recent(SERIAL_LINES) : serial.tail(SERIAL_LINES)
  const text = lines.join('\n') || (needsGuest ? '' : '(nothing was printed)')
  return { label: 'Serial console, last lines', text }
}

async function explainUnmet(
  vm: GuestHandle,
  check: Check,
  group: CommandGroup,
): Promise<readonly Evidence[]> {
  if (!vm.isRunning) return []
  const signal = AbortSignal.timeout(EXPLAIN_TIMEOUT_MS)
  return explainCheck(vm, check, { group, signal }).catch(() => [])
}

function describeError({ details }: VMError): string {
  return `${details.summary}${details.got === undefined ? '' : ` (${details.got})`}`
}
