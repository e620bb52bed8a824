/**
 * Returns a pattern without the flags `g` and `y`, with which a RegExp keeps state between calls.
 */
export function withoutState({ source, flags }: RegExp): RegExp {
  return new RegExp(source, flags.replace(/[gy]/g, ''))
}

/**
 * Returns true if text contains a string or matches a pattern. Ignores the pattern's `lastIndex`.
 */
export function matchText(text: string, expected: string | RegExp): boolean {
  return typeof expected === 'string' ? text.includes(expected) : withoutState(expected).test(text)
}
