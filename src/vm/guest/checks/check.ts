import { KIB } from '../../../common/units.js'
import { shortenText } from '../../../errors/safe-text.js'
import type { Evidence } from '../../../errors.js'
import type { GuestHandle } from '../guest-handle.js'

/** Result of one run of a check. */
export interface CheckOutcome<T = unknown> {
  /** If true, the check is met. */
  readonly isMet: boolean
  /** Observed value. */
  readonly received: string
  /** Reason why the check can no longer be met, such as a failed unit. A wait then ends at once. */
  readonly never?: string | undefined
  /** Facts for the error of a check that is not met. */
  readonly evidence?: readonly Evidence[] | undefined
  /** Value that a wait for the check returns. */
  readonly value?: T | undefined
}

/**
 * Allows a check to wait in the guest for up to `holdMs`, until its outcome equals `until`, instead
 * of being polled.
 */
export interface LongPoll {
  /** Longest wait in the guest, in milliseconds. */
  readonly holdMs: number
  /** Outcome that ends the wait in the guest. */
  readonly until: boolean
}

/** Condition of a guest that can be observed. */
export interface Check<T = unknown, Guest extends GuestHandle = GuestHandle> {
  /**
   * Subject and infinitive, such as `the file /a to exist`. A negated check inserts `not` before
   * `to`.
   */
  readonly expected: string
  /**
   * If true, a check that was met stays met, such as for a message that was logged. A negated
   * matcher then checks once, or watches for its `timeout`. @default false
   */
  readonly staysMet?: boolean | undefined
  /** If false, the check also works on a guest that is off or lost. @default true */
  readonly needsGuest?: boolean | undefined
  /**
   * Time after the guest's loss during which its output still counts, in milliseconds. @default 0
   */
  readonly lossGraceMs?: number | undefined
  /**
   * Observes the condition once. With `longPoll`, may wait within this call if that costs less than
   * polling.
   */
  run(vm: Guest, signal: AbortSignal, longPoll?: LongPoll): Promise<CheckOutcome<T>>
  /** Returns evidence for the error of a check that is not met. Called once, after the last run. */
  explain?(vm: Guest, signal: AbortSignal): Promise<readonly Evidence[]>
}

/** Returns the expectation as text, negated with `negate`. */
export function describeExpectation(check: Check, negate = false): string {
  return negate ? check.expected.replace(/(?= to )/, ' not') : check.expected
}

/** Maximum length of an observed value. A guest can answer a probe with any amount of text. */
const MAX_RECEIVED_CHARS = 4000

/** Maximum length of all evidence of an unmet check together, characters. */
const MAX_EVIDENCE_CHARS = 32 * KIB

/** Returns the evidence of a check with its texts shortened: combined checks have much of it. */
export function shortenEvidence(evidence: readonly Evidence[]): readonly Evidence[] {
  const maxChars = Math.floor(MAX_EVIDENCE_CHARS / Math.max(1, evidence.length))
  return evidence.map(({ label, text }) => ({ label, text: shortenText(text, maxChars) }))
}

/**
 * Returns the outcome with shortened texts, because a wait keeps the outcomes of many polls to show
 * them in its error.
 */
export function shortenOutcome<T>(outcome: CheckOutcome<T>): CheckOutcome<T> {
  const { received, never, evidence } = outcome
  return {
    ...outcome,
    received: shortenText(received, MAX_RECEIVED_CHARS),
    ...(never !== undefined && { never: shortenText(never, MAX_RECEIVED_CHARS) }),
    ...(evidence !== undefined && { evidence: shortenEvidence(evidence) }),
  }
}
