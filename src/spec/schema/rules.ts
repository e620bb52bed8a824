import { z } from 'zod'
import { parseDuration } from '../../common/duration.js'
import { MIB, parseMemorySize } from '../../common/units.js'

/**
 * Creates the rule of an optional option: the expected value, as a phrase for the error message,
 * and the check. With its own phrase, a rule never shows a message of the schema library.
 */
export function rule<T>(expected: string, isValid: (value: unknown) => boolean) {
  return z.custom<T>((value) => value === undefined || isValid(value), { error: expected }).optional()
}

export const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && !value.includes('\0')
const isCount = (value: unknown, min: number, max: number) =>
  Number.isInteger(value) && (value as number) >= min && (value as number) <= max

/** Returns true for `{ file }` without other properties. */
export function isFile(value: unknown): value is { file: string } {
  if (typeof value !== 'object' || value === null) return false
  return Object.keys(value).join() === 'file' && isText((value as { file: unknown }).file)
}

export const text = (what: string) => rule<string>(`${what} as a non-empty string`, isText)
export const path = (what: string) => rule<string>(`the path of ${what}`, isText)
export const flag = () => rule<boolean>('true or false', (value) => typeof value === 'boolean')
export const count = (min: number, max: number) =>
  rule<number>(`a whole number, ${min} to ${max}`, (value) => isCount(value, min, max))
export const port = () => rule<number>('a port, 1 to 65535', isPort)
export const isPort = (value: unknown) => isCount(value, 1, 65_535)
export const duration = () =>
  rule<number>("a time such as '30s', '500ms', '2m', or a number of milliseconds above 0", (value) => {
    return parseDuration(value) !== undefined
  })
export const oneOf = <const T extends string>(...words: readonly T[]) =>
  rule<T>(describeWords(words), (value) => words.includes(value as T))
export const texts = (what: string) =>
  rule<readonly string[]>(`a list of ${what}`, (value) => Array.isArray(value) && value.every(isText))

/** Returns `'a' or 'b'`, or `one of 'a', 'b', 'c'` for more than two words. */
function describeWords(words: readonly string[]): string {
  const quoted = words.map((word) => `'${word}'`)
  return quoted.length > 2 ? `one of ${quoted.join(', ')}` : quoted.join(' or ')
}

export const isMemorySize = (value: unknown) => parseMemorySize(value) !== undefined
export const memorySize = () =>
  rule<number | string>("an amount of memory such as '512M', '2G', or a number of MiB above 0", isMemorySize)

/** Minimum memory of a guest, MiB: less is a mistake, because firmware and a kernel need more. */
const MIN_GUEST_MIB = 16
export const guestMemory = () =>
  rule<number | string>(
    `an amount of memory such as '512M', '2G', or a number of MiB, at least ${MIN_GUEST_MIB} MiB`,
    (value) => (parseMemorySize(value) ?? 0) >= MIN_GUEST_MIB * MIB,
  )

/** Creates the rule of an optional string that matches a pattern. */
export const textLike = (expected: string, pattern: RegExp) =>
  rule<string>(expected, (value) => isText(value) && pattern.test(value))

/** Creates the rule of a required option. */
export const required = <T>(expected: string, isValid: (value: unknown) => boolean) =>
  z.custom<T>(isValid, { error: expected })
