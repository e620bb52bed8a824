import type { Evidence } from '../../../errors.js'
import type { GuestHandle } from '../guest-handle.js'

/** What a check found. */
export interface CheckOutcome<T = unknown> {
  readonly isMet: boolean
  /** What there was instead, or what there was. */
  readonly received: string
  /** Says that it cannot become true any more, and why (a failed unit): waiting ends at once. */
  readonly never?: string | undefined
  readonly evidence?: readonly Evidence[] | undefined
  /** What was found, where a wait gives it. */
  readonly value?: T | undefined
}

/** How long a check may itself wait before it tells that there is no change yet, and for which outcome. */
export interface LongPoll {
  readonly holdMs: number
  readonly until: boolean
}

/** Something that should become true of a guest. */
export interface Check<T = unknown, Guest extends GuestHandle = GuestHandle> {
  /** A subject and what it is to do: `the file /a to exist`. A check that is negated says `not to`. */
  readonly expected: string
  /** False where it tells something of a guest that is off or lost. @default true */
  readonly needsGuest?: boolean
  /** How long what the guest does after its loss still counts, milliseconds. @default 0 */
  readonly lossGraceMs?: number
  /** Looks once. A check that can wait in a cheaper way than by being run again does so within `patience`. */
  run(vm: Guest, signal: AbortSignal, patience?: LongPoll): Promise<CheckOutcome<T>>
  /** More about why it is not met, for the error: run once, after the last look. */
  explain?(vm: Guest, signal: AbortSignal): Promise<readonly Evidence[]>
}

/** A check's words, also for one that is to be false. */
export function describeExpectation(check: Check, negate = false): string {
  return negate ? check.expected.replace(/(?= to )/, ' not') : check.expected
}
