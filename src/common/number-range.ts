/** Larger than any list of CPUs or host nodes that the options allow. */
const MAX_NUMBERS = 256

/**
 * Parses a number or a range, such as `3` or `0-3`. A longer range than an option allows is cut to
 * 256 numbers, which the validation of the options rejects: ranges come from files of others, and a
 * range of a billion numbers would fill the memory.
 */
export function parseNumberRange(text: string): number[] {
  const [first = 0, last = first] = text.split('-').map(Number)
  const length = Math.min(Math.max(0, last - first + 1), MAX_NUMBERS)
  return Array.from({ length }, (_, index) => first + index)
}
