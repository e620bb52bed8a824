import { toSafeText } from '../errors/safe-text.js'
import { VMError } from '../errors.js'
import { toCliTerms } from './cli-terms.js'

/**
 * Exit codes of `withvm`. `withvm run` returns the exit code of the command in the guest instead,
 * once that has run.
 */
export const EXIT_CODES = {
  ok: 0,
  /** A guest or a command in a guest failed, or `withvm setup` could not set up this host. */
  failed: 1,
  /** The command line or an option is invalid; no guest was started. */
  usage: 2,
  /**
   * A problem of this host (EX_UNAVAILABLE of sysexits.h). Retrying later or on another host may
   * help.
   */
  infrastructure: 69,
  /** An internal error of withvm (EX_SOFTWARE of sysexits.h). */
  internal: 70,
} as const

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof VMError)) return EXIT_CODES.internal
  if (error.kind === 'usage') return EXIT_CODES.usage
  return error.kind === 'infrastructure' ? EXIT_CODES.infrastructure : EXIT_CODES.failed
}

/**
 * Formats an error for a terminal: the message, in terms of the command line, plus the stack if the
 * error is unexpected or `verbose` is true.
 */
export function formatError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return `withvm: ${toSafeText(String(error))}`
  if (error instanceof VMError && !verbose) return `withvm: ${toCliTerms(error.message)}`
  return `withvm: ${toSafeText(error.stack ?? error.message)}`
}
