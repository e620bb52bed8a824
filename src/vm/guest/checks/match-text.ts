const SHOWN_CHARS = 400

/** Returns true if a text contains a string or matches a pattern, ignoring the pattern's `lastIndex`. */
export function matchText(text: string, expected: string | RegExp): boolean {
  if (typeof expected === 'string') return text.includes(expected)
  return new RegExp(expected.source, expected.flags.replace(/[gy]/g, '')).test(text)
}

/** Formats a text (shortened) or a pattern for a message. */
export function formatText(text: string | RegExp): string {
  if (text instanceof RegExp) return String(text)
  if (text.length <= SHOWN_CHARS) return JSON.stringify(text)
  return `${JSON.stringify(text.slice(0, SHOWN_CHARS))}… (${text.length} characters)`
}
