import { z } from 'zod'
import { parseDuration } from '../../common/duration.js'
import { parseMemorySize } from '../../common/units.js'

/**
 * One option's rule: what is expected, in words for the error message, and the check.
 * A rule with words of its own keeps messages free of the schema library's.
 */
export function rule<T>(expected: string, isValid: (value: unknown) => boolean) {
  return z.custom<T>((value) => value === undefined || isValid(value), { error: expected }).optional()
}

export const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && !value.includes('\0')
const isCount = (value: unknown, least: number, most: number) =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most

/** A file that has it, and nothing else. */
export function isFile(value: unknown): value is { file: string } {
  if (typeof value !== 'object' || value === null) return false
  return Object.keys(value).join() === 'file' && isText((value as { file: unknown }).file)
}

export const text = (what: string) => rule<string>(`${what}, as text that is not empty`, isText)
export const path = (what: string) => rule<string>(`the path of ${what}`, isText)
export const flag = () => rule<boolean>('true or false', (value) => typeof value === 'boolean')
export const count = (least: number, most: number) =>
  rule<number>(`a whole number, ${least} to ${most}`, (value) => isCount(value, least, most))
export const port = () => rule<number>('a port, 1 to 65535', isPort)
export const isPort = (value: unknown) => isCount(value, 1, 65_535)
export const duration = () =>
  rule<number>("a time such as '30s', '500ms', '2m', or a number of milliseconds above 0", (value) => {
    return parseDuration(value) !== undefined
  })
export const oneOf = <const T extends string>(...words: readonly T[]) =>
  rule<T>(words.map((word) => `'${word}'`).join(' or '), (value) => words.includes(value as T))
export const texts = (what: string) =>
  rule<readonly string[]>(`a list of ${what}`, (value) => Array.isArray(value) && value.every(isText))

export const isMemorySize = (value: unknown) => parseMemorySize(value) !== undefined
export const memorySize = () =>
  rule<number | string>("an amount of memory such as '512M', '2G', or a number of MiB above 0", isMemorySize)

/** A text of which some form is expected. */
export const textLike = (expected: string, pattern: RegExp) =>
  rule<string>(expected, (value) => isText(value) && pattern.test(value))

/** The same rule for what has to be there. */
export const required = <T>(expected: string, isValid: (value: unknown) => boolean) =>
  z.custom<T>(isValid, { error: expected })
