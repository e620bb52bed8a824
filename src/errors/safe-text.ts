/**
 * Text that may come from a guest, an image or a server, for a reader's terminal. Errors, evidence,
 * lines of the log and messages of matchers are all built with these functions.
 */

/** Maximum length of a part of a message, such as one section of evidence. */
const MAX_PART_CHARS = 64 * 1024
/** Maximum length of a line of the log or of a table. */
const MAX_LINE_CHARS = 4096
/** Maximum length of the note about omitted characters. */
const NOTE_CHARS = 50

/**
 * C0 and C1 controls, which can drive a terminal, and bidirectional format characters; not tab and
 * line feed.
 */
const CONTROLS = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

const REPEATED = new RegExp(`(${CONTROLS.source})\\1{15,}`, 'gu')

/**
 * Returns a part of a message: control characters are escaped, and a long text is shortened.
 * Idempotent.
 */
export function toSafeText(text: string, maxChars = MAX_PART_CHARS): string {
  // An escaped character is longer, so the text is shortened before, for the time, and after, for
  // the length.
  return shortenText(escapeControlCharacters(shortenText(text, maxChars)), maxChars)
}

/**
 * Returns a text as one short line: a guest cannot add lines of its own to a log, which a CI may
 * take for commands.
 */
export function toSafeLine(text: string): string {
  return toSafeText(text, MAX_LINE_CHARS).replaceAll(/[\t\n]+/g, ' ')
}

/** Returns at most `maxChars` characters: the start and the end of a longer text. */
export function shortenText(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text
  const kept = Math.floor((maxChars - NOTE_CHARS) / 2)
  return `${text.slice(0, kept)} … (${text.length - 2 * kept} characters omitted) … ${text.slice(-kept)}`
}

/**
 * Escapes control characters as JSON does, so that a guest's output in a message cannot drive the
 * reader's terminal.
 */
function escapeControlCharacters(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(REPEATED, (run) => `${escapeCharacter(run.charAt(0))} (${run.length} times)`)
    .replace(CONTROLS, escapeCharacter)
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Returns the first line of the message of an error, or of another thrown value. */
export function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n', 1)[0] as string
}
