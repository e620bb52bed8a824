const SHOWN_CHARS = 400

/** Formats text (shortened) or a pattern for a message. */
export function formatText(text: string | RegExp): string {
  if (text instanceof RegExp) return String(text)
  if (text.length <= SHOWN_CHARS) return JSON.stringify(text)
  return `${JSON.stringify(text.slice(0, SHOWN_CHARS))}… (${text.length} characters)`
}
