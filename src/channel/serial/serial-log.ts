import { createDeferred } from '../../common/deferred.js'
import { LineView } from './line-view.js'
import { TextLog } from './text-log.js'

/**
 * Output of a serial console, raw and as plain lines, up to a limit of characters. Notifies
 * listeners of new output.
 */
export class SerialLog {
  readonly raw: TextLog
  readonly plain: TextLog
  readonly #view = new LineView()
  readonly #listeners = new Set<(text: string) => void>()
  #bytes = 0
  #lastByteAt: number | undefined
  #isClosed = false

  constructor(maxChars: number) {
    this.raw = new TextLog(maxChars)
    this.plain = new TextLog(maxChars)
  }

  /** Milliseconds since the last byte was received; undefined before the first one. */
  get silentMs(): number | undefined {
    return this.#lastByteAt === undefined ? undefined : performance.now() - this.#lastByteAt
  }

  /** Number of bytes received in total. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds output from before this process connected. */
  restore(bytes: Uint8Array): void {
    this.#add(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes))
  }

  /** Begins a new line for the next power-on. Returns the functions that take its bytes. */
  begin(): { push(bytes: Uint8Array): void; end(): void } {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    if (this.raw.end > 0) this.plain.append(this.#view.reset())
    return {
      push: (bytes) => {
        this.#lastByteAt = performance.now()
        this.#bytes += bytes.length
        this.#add(decoder.decode(bytes, { stream: true }))
      },
      end: () => this.#add(decoder.decode()),
    }
  }

  lines(): string[] {
    const lines = this.plain.slice(this.plain.start).split('\n')
    if (lines.at(-1) === '') lines.pop()
    return lines
  }

  tail(count: number): string[] {
    return this.plain
      .slice(Math.max(this.plain.start, this.plain.end - count * 512))
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count)
  }

  /** Returns the line at an offset of the line view, as printed so far. */
  lineAt(offset: number): string {
    const before = this.plain.slice(Math.max(0, offset - 4096), offset)
    const after = this.plain.slice(offset, offset + 4096)
    return before.slice(before.lastIndexOf('\n') + 1) + (after.split('\n', 1)[0] ?? '')
  }

  onText(listener: (text: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Ends the log: readers of lines receive the incomplete last line. */
  close(): void {
    this.#isClosed = true
    this.#notify('')
  }

  async *readLines(): AsyncGenerator<string, void> {
    const { plain } = this
    let lineStart = plain.start
    let searchEnd = plain.start
    let wake = createDeferred<void>()
    const stop = this.onText(() => wake.resolve())
    try {
      for (;;) {
        // Search only the new part: a line that never ends would be copied again for each byte.
        const [first = '', ...more] = plain.slice(searchEnd).split('\n')
        lineStart = Math.max(lineStart, plain.start)
        const firstLine = more.length === 0 ? '' : plain.slice(lineStart, searchEnd) + first
        const lines = more.length === 0 ? [] : [firstLine, ...more.slice(0, -1)]
        searchEnd = plain.end
        if (lines.length > 0) lineStart = searchEnd - (more.at(-1) ?? '').length
        yield* lines
        if (plain.end > searchEnd) continue
        if (this.#isClosed) {
          const rest = plain.slice(lineStart)
          if (rest !== '') yield rest
          return
        }
        await wake.promise
        wake = createDeferred<void>()
      }
    } finally {
      stop()
    }
  }

  #add(text: string): void {
    this.raw.append(text)
    this.plain.append(this.#view.push(text))
    if (text !== '') this.#notify(text)
  }

  #notify(text: string): void {
    for (const listener of [...this.#listeners]) listener(text)
  }
}
