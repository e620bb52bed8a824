import { runUserCode } from '../../../common/calls/calls.js'
import { CommandError, UsageError, VMError } from '../../../errors.js'
import type { GuestHandle } from '../guest-handle.js'
import type { Check, CheckOutcome } from './check.js'

/** Custom check: met unless it returns (or resolves to) `false`, or throws. */
export type CheckFunction<Guest extends GuestHandle = GuestHandle> = (
  vm: Guest,
  signal: AbortSignal,
) => unknown

/** A check of `checks`, or a custom check function. */
export type CheckLike<T = unknown, Guest extends GuestHandle = GuestHandle> =
  | Check<T, Guest>
  | CheckFunction<Guest>

const SHOWN_CHARS = 1000

/** Converts a custom check function to a check. */
export function toCheck<T, Guest extends GuestHandle>(
  like: CheckLike<T, Guest>,
  name?: string,
): Check<T, Guest> {
  if (typeof like !== 'function') return like
  const subject = name ?? (like.name === '' ? 'the check' : `the check ${like.name}`)
  return {
    expected: `${subject} to be met`,
    run: async (vm, signal) => {
      try {
        const isMet = (await runUserCode(() => like(vm, signal))) !== false
        return { isMet, received: isMet ? 'true' : 'false' }
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof UsageError || vm.lost.aborted) throw error
        return { isMet: false, received: describeThrown(error) }
      }
    },
  }
}

/** Met if all checks are met in the same poll. */
export function allOf<Guest extends GuestHandle>(
  likes: readonly CheckLike<unknown, Guest>[],
): Check<unknown, Guest> {
  const checks = likes.map((like) => toCheck(like))
  return {
    expected:
      checks.length === 1
        ? (checks[0] as Check).expected
        : `all checks ${joinExpectations(checks)} to be met`,
    ...combineProperties(checks),
    run: async (vm, signal) => {
      const outcomes = await Promise.all(checks.map((check) => check.run(vm, signal)))
      const unmet = outcomes.flatMap((outcome, index) => (outcome.isMet ? [] : [{ outcome, index }]))
      const never = unmet.find(({ outcome }) => outcome.never !== undefined)?.outcome.never
      return {
        isMet: unmet.length === 0,
        received: unmet.length === 0 ? 'all met' : describeUnmet(checks, unmet),
        never,
        evidence: unmet.flatMap(({ outcome }) => outcome.evidence ?? []),
      }
    },
  }
}

/** Met if at least one check is met; the value is the index of the first. */
export function anyOf<Guest extends GuestHandle>(
  likes: readonly CheckLike<unknown, Guest>[],
): Check<number, Guest> {
  const checks = likes.map((like) => toCheck(like))
  return {
    expected: `one of the checks ${joinExpectations(checks)} to be met`,
    ...combineProperties(checks),
    run: async (vm, signal) => {
      const outcomes = await Promise.all(checks.map((check) => check.run(vm, signal)))
      const value = outcomes.findIndex((outcome) => outcome.isMet)
      if (value >= 0) return { isMet: true, received: (checks[value] as Check).expected, value }
      const unmet = outcomes.map((outcome, index) => ({ outcome, index }))
      const isNever = outcomes.every((outcome) => outcome.never !== undefined)
      return {
        isMet: false,
        received: describeUnmet(checks, unmet),
        never: isNever ? outcomes.map((outcome) => outcome.never).join('; ') : undefined,
        evidence: outcomes.flatMap((outcome) => outcome.evidence ?? []),
      }
    },
  }
}

/**
 * Combined check properties: it needs the guest only if every check does, and it explains each
 * unmet check.
 */
function combineProperties(checks: readonly Check[]): Pick<Check, 'needsGuest' | 'lossGraceMs' | 'explain'> {
  return {
    needsGuest: checks.every((check) => check.needsGuest !== false),
    lossGraceMs: Math.max(0, ...checks.map((check) => check.lossGraceMs ?? 0)),
    explain: async (vm, signal) =>
      (await Promise.all(checks.map((check) => check.explain?.(vm, signal) ?? []))).flat(),
  }
}

function joinExpectations(checks: readonly Check[]): string {
  return `(${checks.map((check) => check.expected).join('; ')})`
}

function describeUnmet(
  checks: readonly Check[],
  unmet: readonly { readonly outcome: CheckOutcome; readonly index: number }[],
): string {
  return unmet
    .map(({ outcome, index }) => `${(checks[index] as Check).expected}: ${outcome.received}`)
    .join('\n')
}

function describeThrown(error: unknown): string {
  if (error instanceof CommandError) {
    const { stderr, exitCode, signal } = error
    return `\`${error.command}\` failed with ${exitCode === undefined ? `signal ${signal}` : `exit code ${exitCode}`}${stderr === '' ? '' : `: ${stderr}`}`
  }
  if (error instanceof VMError) return error.details.summary
  return (error instanceof Error ? error.message : String(error)).slice(0, SHOWN_CHARS)
}
