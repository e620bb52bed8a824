const SHOWN_CHARS = 400

/** Whether a text holds another, or matches a pattern: wherever the pattern was used before. */
export function matchText(text: string, expected: string | RegExp): boolean {
  if (typeof expected === 'string') return text.includes(expected)
  return new RegExp(expected.source, expected.flags.replace(/[gy]/g, '')).test(text)
}

/** A text or a pattern for a message, cut where it is long. */
export function showText(text: string | RegExp): string {
  if (text instanceof RegExp) return String(text)
  if (text.length <= SHOWN_CHARS) return JSON.stringify(text)
  return `${JSON.stringify(text.slice(0, SHOWN_CHARS))}… (${text.length} characters)`
}
