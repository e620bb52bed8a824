import { vmError } from '../errors.js'
import { type Duration, parseDuration } from './duration.js'

/**
 * The milliseconds of an option that a method was given; undefined where it was not.
 * @throws {UsageError} INVALID_OPTIONS when it is no duration: nothing is waited for by a default then.
 */
export function resolveDuration(name: string, duration: Duration | undefined): number | undefined {
  const ms = parseDuration(duration)
  if (duration === undefined || ms !== undefined) return ms
  throw vmError('INVALID_OPTIONS', {
    summary: `The option \`${name}\` cannot be used.`,
    expected: "milliseconds above 0, or a text such as '30s'",
    got: JSON.stringify(duration) ?? String(duration),
    hint: 'correct it.',
  })
}
