import type { Terminal } from '@xterm/headless'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { KIB, MIB } from '../../common/units.js'
import { limitCell, writeSize } from './terminal-limits.js'

/** Maximum amount of undrawn text. A screen shows far less, so older text can be dropped. */
const MAX_PENDING_CHARS = MIB
/** Size of the pieces in which undrawn text is kept. */
const CHUNK_CHARS = 64 * KIB

interface Flush {
  readonly offset: number
  readonly flushed: Deferred<void>
}

/**
 * Writes text to a terminal as fast as it draws. If the guest prints faster, the oldest undrawn
 * text is dropped.
 */
export class ScreenFeed {
  readonly #terminal: Terminal
  readonly #onDrawn: () => void
  #pending: string[] = []
  #isDrawing = false
  /** Total number of characters received. */
  #receivedChars = 0
  /** Total number of characters drawn or dropped. */
  #processedChars = 0
  #flushes: Flush[] = []

  constructor(terminal: Terminal, onDrawn: () => void) {
    this.#terminal = terminal
    this.#onDrawn = onDrawn
  }

  push(text: string): void {
    if (text === '') return
    const last = this.#pending.at(-1)
    if (last !== undefined && last.length + text.length <= CHUNK_CHARS) {
      this.#pending[this.#pending.length - 1] = last + text
    } else {
      for (let at = 0; at < text.length; at += CHUNK_CHARS) {
        this.#pending.push(text.slice(at, at + CHUNK_CHARS))
      }
    }
    this.#receivedChars += text.length
    this.#dropOldest()
    if (!this.#isDrawing) this.#drawNext()
  }

  /** Resolves when all text pushed so far is drawn, regardless of later text. */
  async flushed(): Promise<void> {
    if (this.#processedChars >= this.#receivedChars) return
    const flush = { offset: this.#receivedChars, flushed: createDeferred<void>() }
    this.#flushes.push(flush)
    await flush.flushed.promise
  }

  #dropOldest(): void {
    let dropped = 0
    while (
      this.#receivedChars - this.#processedChars > MAX_PENDING_CHARS &&
      dropped < this.#pending.length - 1
    ) {
      this.#processedChars += (this.#pending[dropped++] as string).length
    }
    // CAN ends an escape sequence whose end was dropped.
    if (dropped > 0) this.#pending.splice(0, dropped + 1, `\x18${this.#pending[dropped]}`)
    if (dropped > 0) this.#processedChars--
  }

  #drawNext(): void {
    const text = this.#takeNext()
    this.#isDrawing = text !== ''
    if (!this.#isDrawing) return
    // The terminal lets the event loop run between two writes when it has drawn for 12 ms.
    this.#terminal.write(limitCell(this.#terminal, text), () => {
      this.#processedChars += text.length
      const drawn = this.#flushes.filter(({ offset }) => offset <= this.#processedChars)
      this.#flushes = this.#flushes.filter(({ offset }) => offset > this.#processedChars)
      for (const { flushed } of drawn) flushed.resolve()
      this.#onDrawn()
      this.#drawNext()
    })
  }

  /** Removes and returns the text for one write to the terminal: a few milliseconds of work. */
  #takeNext(): string {
    const [first = ''] = this.#pending
    const text = first.slice(0, writeSize(this.#terminal))
    if (text.length < first.length) this.#pending[0] = first.slice(text.length)
    else this.#pending.shift()
    return text
  }
}
