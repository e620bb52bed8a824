/**
 * Limit of the time that matching takes: a guest may print a line that never ends. No pattern needs
 * a longer line.
 */
const MAX_CHARS = 4096

/**
 * Splits console output into lines for pattern matching. Longer lines are cut to their last 4096
 * characters.
 */
export class ConsoleLines {
  #partial = ''

  /** Incomplete last line. */
  get partial(): string {
    return this.#partial
  }

  /** Returns the lines that `text` completes, without line ends. */
  push(text: string): string[] {
    const lines = (this.#partial + text).split(/\r?\n|\r/).map(cut)
    this.#partial = lines.pop() ?? ''
    return lines
  }

  /** Drops the incomplete last line. */
  reset(): void {
    this.#partial = ''
  }
}

function cut(line: string): string {
  return line.slice(-MAX_CHARS)
}
