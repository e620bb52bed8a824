import { KIB } from '../../common/units.js'
import type { TextLog } from './text-log.js'

/** Maximum length of a match, and of a line that is searched as a whole. */
export const MATCH_WINDOW_CHARS = 16 * KIB

export interface FoundPattern {
  readonly match: RegExpExecArray
  /** Offsets in the line view. */
  readonly start: number
  readonly end: number
}

/**
 * Matches the source of a pattern that may match a line end: by a class, an escape or the line end
 * itself.
 */
const MAY_SPAN_LINES = /\\[nrtsWDPpxuckfv0-9]|\[\^|\n|\(\?[a-z]*s/

/** Returns a RegExp whose `^` and `$` match at line boundaries. A string is matched literally. */
export function toLineRegExp(pattern: string | RegExp): RegExp {
  if (typeof pattern === 'string') return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'g')
  // Own flags: the `g` and `y` of the author's RegExp keep state between calls.
  return new RegExp(pattern.source, `${pattern.flags.replace(/[gym]/g, '')}gm`)
}

/**
 * Searches a growing log for one pattern. Text that can no longer be part of a match is searched
 * only once.
 */
export class PatternScan {
  readonly #log: TextLog
  readonly #regexp: RegExp
  readonly #spansLines: boolean
  #from: number

  constructor(log: TextLog, pattern: string | RegExp, from: number) {
    this.#log = log
    this.#from = from
    this.#regexp = toLineRegExp(pattern)
    this.#spansLines =
      typeof pattern === 'string'
        ? pattern.includes('\n')
        : pattern.flags.includes('s') || MAY_SPAN_LINES.test(pattern.source)
  }

  next(): FoundPattern | undefined {
    const from = Math.max(this.#from, this.#log.start)
    // Include the previous character, so that `^` does not match within a line.
    const base = Math.max(from - 1, this.#log.start)
    const text = this.#log.slice(base)
    this.#regexp.lastIndex = from - base
    const match = this.#regexp.exec(text)
    if (match !== null) {
      const start = base + match.index
      return { match, start, end: start + match[0].length }
    }
    const lineStart = this.#spansLines ? 0 : text.lastIndexOf('\n') + 1
    this.#from = Math.max(from, base + lineStart, base + text.length - MATCH_WINDOW_CHARS)
    return undefined
  }
}
