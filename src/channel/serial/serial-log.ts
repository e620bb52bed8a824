import { createDeferred } from '../../common/deferred.js'
import { LineView } from './line-view.js'
import { TextLog } from './text-log.js'

/**
 * What a guest has written on its serial console: as it came, and as plain lines. It keeps the last characters
 * up to a limit, and tells those who listen of what comes.
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

  /** Milliseconds since the last byte came, or undefined when none has. */
  get silentMs(): number | undefined {
    return this.#lastByteAt === undefined ? undefined : performance.now() - this.#lastByteAt
  }

  /** How many bytes have come in all. */
  get bytes(): number {
    return this.#bytes
  }

  /** Takes what was printed before there was anybody to listen. */
  restore(bytes: Uint8Array): void {
    this.#add(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes))
  }

  /** Begins a new line, and reads what the guest writes from now on. Gives the reader of its bytes. */
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

  /** The line in which an offset of the line view lies, as far as it has come. */
  lineAt(offset: number): string {
    const before = this.plain.slice(Math.max(0, offset - 4096), offset)
    const after = this.plain.slice(offset, offset + 4096)
    return before.slice(before.lastIndexOf('\n') + 1) + (after.split('\n', 1)[0] ?? '')
  }

  onText(listener: (text: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Nothing more will come: those who read lines get the rest. */
  close(): void {
    this.#isClosed = true
    this.#notify('')
  }

  async *readLines(): AsyncGenerator<string, void> {
    const { plain } = this
    let lineStart = plain.start
    let searchedTo = plain.start
    let wake = createDeferred<void>()
    const stop = this.onText(() => wake.resolve())
    try {
      for (;;) {
        // Only what is new is looked at: a line without end would be copied again with each byte.
        const [first = '', ...more] = plain.slice(searchedTo).split('\n')
        lineStart = Math.max(lineStart, plain.start)
        const firstLine = more.length === 0 ? '' : plain.slice(lineStart, searchedTo) + first
        const lines = more.length === 0 ? [] : [firstLine, ...more.slice(0, -1)]
        searchedTo = plain.end
        if (lines.length > 0) lineStart = searchedTo - (more.at(-1) ?? '').length
        yield* lines
        if (plain.end > searchedTo) continue
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
