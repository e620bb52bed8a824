/** Maximum length of an escape sequence. Longer ones are garbage and shown as text. */
const MAX_SEQUENCE_CHARS = 4096

const ESC = '\u001b'
const BELL = '\u0007'

/**
 * A run of control characters (C0 and C1) without meaning for lines, a run of returns, or an
 * Escape.
 */
const CONTROL = new RegExp(`(?:\\p{Cc}(?<![\\t\\n\\r${ESC}]))+|\\r+|${ESC}`, 'gu')

/** Content of a string (OSC, DCS, PM, APC, SOS) after its Escape. */
const STRING = `[\\]PX^_][^${BELL}${ESC}\\r\\n]*`

/**
 * Complete escape sequence: CSI, a string, or a short one. ECMA-48, 5.3 to 5.6.
 */
const SEQUENCE = new RegExp(
  `^${ESC}(?:\\[[0-?]*[ -/]*([@-~])|${STRING}(?:${BELL}|${ESC}\\\\)|(?![[\\]PX^_])[ -/]*[0-~])`,
)

/** Start of an incomplete escape sequence. */
const OPEN_SEQUENCE = new RegExp(`^${ESC}(?:\\[[0-?]*[ -/]*|${STRING}${ESC}?|[ -/]*)$`)

/** Final letters of the sequences that move the cursor to another line. */
const MOVES = new Set('ABEFHdf')

/**
 * Converts console output to plain lines. Removes escape sequences and control characters, takes
 * `\r\n` as one line end, and begins a new line at a lone `\r` or a cursor movement within a line.
 */
export class LineView {
  #open = ''
  #pendingReturn = false
  #atLineStart = true

  /** Returns the plain text of `text`. An incomplete sequence is kept for the next call. */
  push(text: string): string {
    const input = this.#open === '' ? text : this.#open + text
    this.#open = ''
    const out: string[] = []
    let at = 0
    while (at < input.length) {
      CONTROL.lastIndex = at
      const found = CONTROL.exec(input)
      const end = found === null ? input.length : found.index
      if (end > at) this.#emit(input.slice(at, end), out)
      if (found === null) break
      at = CONTROL.lastIndex
      if (found[0].startsWith('\r')) this.#pendingReturn = true
      if (found[0] !== '\x1b') continue
      const candidate = input.slice(end, end + MAX_SEQUENCE_CHARS)
      const sequence = SEQUENCE.exec(candidate)
      if (sequence !== null) {
        if (MOVES.has(sequence[1] ?? '')) this.#pendingReturn = true
        at = end + sequence[0].length
      } else if (candidate.length < MAX_SEQUENCE_CHARS && OPEN_SEQUENCE.test(candidate)) {
        this.#open = candidate
        break
      }
    }
    return out.join('')
  }

  /** Begins a new line for a guest that starts again. Returns the text to append. */
  reset(): string {
    this.#open = ''
    this.#pendingReturn = false
    const end = this.#atLineStart ? '' : '\n'
    this.#atLineStart = true
    return end
  }

  #emit(run: string, out: string[]): void {
    if (this.#pendingReturn && !this.#atLineStart && !run.startsWith('\n')) out.push('\n')
    // "\n\r", printed by firmware, and a return at the start of a line add no line end.
    this.#pendingReturn = false
    this.#atLineStart = run.endsWith('\n')
    out.push(run)
  }
}
