import { KIB } from '../../common/units.js'

const SEGMENT_CHARS = 64 * KIB

/**
 * Append-only text, addressed by offsets from its start. Beyond a limit the oldest text is dropped;
 * offsets stay valid.
 */
export class TextLog {
  readonly #maxChars: number
  #segments: string[] = []
  #last = ''
  #start = 0
  #end = 0

  constructor(maxChars: number) {
    this.#maxChars = maxChars
  }

  /** Offset of the oldest character that is kept. */
  get start(): number {
    return this.#start
  }

  get end(): number {
    return this.#end
  }

  append(text: string): void {
    this.#last += text
    this.#end += text.length
    if (this.#last.length < SEGMENT_CHARS) return
    this.#segments.push(this.#last)
    this.#last = ''
    let excess = this.#end - this.#start - this.#maxChars
    let dropped = 0
    for (const segment of this.#segments) {
      if (segment.length > excess) break
      excess -= segment.length
      this.#start += segment.length
      dropped++
    }
    if (dropped > 0) this.#segments.splice(0, dropped)
  }

  /** Returns the text between two offsets, without dropped text. */
  slice(from: number, to: number = this.#end): string {
    if (from >= to) return ''
    const lastStart = this.#end - this.#last.length
    if (from >= lastStart) return this.#last.slice(from - lastStart, to - lastStart)
    const parts: string[] = [this.#last.slice(0, Math.max(0, to - lastStart))]
    let segmentEnd = lastStart
    for (let index = this.#segments.length - 1; index >= 0 && segmentEnd > from; index--) {
      const segment = this.#segments[index] as string
      const segmentStart = segmentEnd - segment.length
      if (segmentStart < to) parts.push(segment.slice(Math.max(0, from - segmentStart), to - segmentStart))
      segmentEnd = segmentStart
    }
    return parts.reverse().join('')
  }
}
