import { constants } from 'node:buffer'
import type { Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

const MIN_BUFFER_BYTES = 1024

/** Collects one output stream of a command up to a limit, and forwards it to a sink. */
export class CommandOutput {
  readonly #sink: Writable | ((text: string) => void) | undefined
  readonly #maxBytes: number
  readonly #isCollected: boolean
  readonly #decoder = new StringDecoder('utf8')
  /**
   * One buffer that doubles, instead of a list of pieces: a Buffer of one byte takes about 200
   * bytes of memory.
   */
  #collected = Buffer.alloc(0)
  #bytes = 0

  constructor(sink: Writable | ((text: string) => void) | undefined, maxBytes: number, isCollected = true) {
    this.#sink = sink
    this.#maxBytes = isCollected ? Math.min(maxBytes, constants.MAX_LENGTH) : Number.POSITIVE_INFINITY
    this.#isCollected = isCollected
  }

  /** Adds output. Returns false if it exceeds the limit; the excess is dropped. */
  push(chunk: Buffer): boolean {
    const freeBytes = this.#maxBytes - this.#bytes
    const kept = chunk.length > freeBytes ? chunk.subarray(0, freeBytes) : chunk
    if (this.#isCollected) this.#append(kept)
    this.#bytes += kept.length
    if (typeof this.#sink === 'function') {
      const text = this.#decoder.write(kept)
      if (text !== '') this.#sink(text)
    } else {
      this.#sink?.write(kept)
    }
    return kept === chunk
  }

  /** Flushes an incomplete character to the sink. */
  end(): void {
    const rest = this.#decoder.end()
    if (typeof this.#sink === 'function' && rest !== '') this.#sink(rest)
  }

  /** Resolves when the sink accepts more data; undefined if it does now. */
  get drained(): Promise<void> | undefined {
    const sink = this.#sink
    if (sink === undefined || typeof sink === 'function' || !sink.writableNeedDrain) return undefined
    return new Promise((resolve) => {
      const done = () => {
        sink.off('drain', done).off('close', done).off('error', done)
        resolve()
      }
      sink.on('drain', done).on('close', done).on('error', done)
    })
  }

  toBuffer(): Buffer {
    return this.#collected.subarray(0, this.#bytes)
  }

  #append(piece: Buffer): void {
    const end = this.#bytes + piece.length
    if (end > this.#collected.length) {
      const larger = Buffer.alloc(Math.min(Math.max(2 * end, MIN_BUFFER_BYTES), this.#maxBytes))
      this.#collected.copy(larger)
      this.#collected = larger
    }
    piece.copy(this.#collected, this.#bytes)
  }
}
