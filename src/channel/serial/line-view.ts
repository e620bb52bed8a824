/** The longest escape sequence that is waited for; what is longer is garbage and shown as text. */
const MAX_SEQUENCE_CHARS = 4096

/** Every control character but tab and line feed, C1 too, in runs of those that mean nothing here. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is for
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]+|\r+|\x1b/g

/** A complete sequence at its start: CSI, a string (OSC, DCS, PM, APC, SOS), or a short one. ECMA-48, 5.3 to 5.6. */
const SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what it is for
  /^\x1b(?:\[[0-?]*[ -/]*([@-~])|[\]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)|(?![[\]PX^_])[ -/]*[0-~])/

/** The start of a sequence that may still be completed. */
const OPEN_SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is for
  /^\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\r\n]*\x1b?|[ -/]*)$/

/** The last letters of the sequences that move the cursor to another line. */
const MOVES = new Set('ABEFHdf')

/**
 * Turns what a serial console sends into plain lines: escape sequences and control characters go, `\r\n` is one
 * line end, and a lone `\r` or a move of the cursor in the middle of a line begins a new one.
 */
export class LineView {
  #open = ''
  #pendingReturn = false
  #atLineStart = true

  /** Gives the plain text that `text` adds. An incomplete sequence is held back for the next call. */
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

  /** Begins a new line, as a guest that starts again does. */
  reset(): string {
    this.#open = ''
    this.#pendingReturn = false
    const end = this.#atLineStart ? '' : '\n'
    this.#atLineStart = true
    return end
  }

  #emit(run: string, out: string[]): void {
    if (this.#pendingReturn && !this.#atLineStart && !run.startsWith('\n')) out.push('\n')
    // "\n\r" of firmware and a return at the start of a line add nothing.
    this.#pendingReturn = false
    this.#atLineStart = run.endsWith('\n')
    out.push(run)
  }
}
