import { VMError } from '../errors.js'

/**
 * What the exit code of `withvm` says. `withvm run` ends with the exit code of the command in the guest instead, when
 * that ran.
 */
export const EXIT_CODES = {
  ok: 0,
  /** A guest or a command in it failed, or `withvm setup` could not set this host up. */
  failed: 1,
  /** The command line or an option is wrong; nothing was started. */
  usage: 2,
  /** This host cannot do it (EX_UNAVAILABLE of sysexits.h): trying elsewhere or later may help. */
  infrastructure: 69,
  /** A fault in withvm itself (EX_SOFTWARE of sysexits.h). */
  internal: 70,
} as const

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof VMError)) return EXIT_CODES.internal
  if (error.kind === 'usage') return EXIT_CODES.usage
  return error.kind === 'infrastructure' ? EXIT_CODES.infrastructure : EXIT_CODES.failed
}

/** An error as a person at a terminal wants it: the message; the stack only of what nobody foresaw, or on request. */
export function formatError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return `withvm: ${String(error)}`
  if (error instanceof VMError && !verbose) return `withvm: ${error.message}`
  return `withvm: ${error.stack ?? error.message}`
}
