/** Longer than any line that a pattern looks for. Matching takes time by the length, and a guest may print a line without end. */
const MAX_CHARS = 4096

/** Splits what a console prints into lines for patterns: of a longer line, only the last 4096 characters. */
export class ConsoleLines {
  #partial = ''

  /** The line that has not ended yet. */
  get partial(): string {
    return this.#partial
  }

  /** Returns the lines that end in `text`, without their line ends. */
  push(text: string): string[] {
    const lines = (this.#partial + text).split(/\r?\n|\r/).map(cut)
    this.#partial = lines.pop() ?? ''
    return lines
  }

  /** Drops the line that has not ended yet. */
  reset(): void {
    this.#partial = ''
  }
}

function cut(line: string): string {
  return line.slice(-MAX_CHARS)
}
