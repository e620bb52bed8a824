import { nearestNames } from '../../common/nearest-name.js'
import { type VMError, vmError } from '../../errors.js'
import { isName, NAME_RULE } from '../../spec/guest-name.js'

/** Maximum number of children of one call: more is a mistake. */
const MAX_CHILDREN = 64

/** Values of each option. */
const OPTIONS: Readonly<
  Record<string, { readonly expected: string; readonly isValid: (value: unknown) => boolean }>
> = {
  name: {
    expected: NAME_RULE,
    isValid: isName,
  },
  identity: {
    expected: "'own' or 'same'",
    isValid: (value) => value === 'own' || value === 'same',
  },
  signal: { expected: 'an AbortSignal', isValid: (value) => value instanceof AbortSignal },
}

/**
 * Checks the arguments of `vm.fork()` and `forkAll()`.
 * @throws {UsageError} INVALID_OPTIONS
 */
export function checkForkRequest(guests: readonly unknown[], count: unknown, options: unknown): void {
  if (new Set(guests).size < guests.length)
    throw invalidError(
      'the list of guests',
      'different guests',
      'one guest more than once',
      'List each guest once.',
    )
  if (!Number.isInteger(count) || (count as number) < 1 || (count as number) > MAX_CHILDREN) {
    const hint = 'Pass the number of children, such as `vm.fork(2)`.'
    throw invalidError('the number of children', `an integer from 1 to ${MAX_CHILDREN}`, show(count), hint)
  }
  if (typeof options !== 'object' || options === null)
    throw invalidError('the options', "an object such as { name: 'child' }", show(options), 'Pass an object.')
  for (const [name, value] of Object.entries(options)) {
    const option = OPTIONS[name]
    const hint = `Correct or omit the option \`${name}\`.`
    if (option === undefined) {
      const known = nearestNames(name, Object.keys(OPTIONS))
      const expected = `one of ${(known.length > 0 ? known : Object.keys(OPTIONS)).join(', ')}`
      throw invalidError('an option', expected, name, hint)
    }
    if (value !== undefined && !option.isValid(value))
      throw invalidError(`the option \`${name}\``, option.expected, show(value), hint)
  }
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 100)
}

function invalidError(what: string, expected: string, got: string, hint: string): VMError {
  return vmError('INVALID_OPTIONS', {
    summary: `No guest was forked: ${what} is invalid.`,
    expected,
    got,
    hint,
  })
}
