import { vmError } from '../errors.js'
import { type Duration, parseDuration } from './duration.js'

/**
 * Returns the milliseconds of an option; undefined if it is not set.
 * @throws {UsageError} INVALID_OPTIONS when it is not a duration, instead of using a default.
 */
export function resolveDuration(name: string, duration: Duration | undefined): number | undefined {
  const ms = parseDuration(duration)
  if (duration === undefined || ms !== undefined) return ms
  throw vmError('INVALID_OPTIONS', {
    summary: `The option \`${name}\` is not a duration.`,
    expected: "milliseconds above 0, or a string such as '30s'",
    got: JSON.stringify(duration) ?? String(duration),
    hint: 'Correct the option.',
  })
}
