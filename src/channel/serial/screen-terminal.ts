import type { Terminal } from '@xterm/headless'
import { ScreenFeed } from './screen-feed.js'
import { limitSequences } from './terminal-limits.js'

export interface TerminalHooks {
  /** Called after new text was drawn. */
  readonly onDrawn: () => void
  /**
   * Sends the reply of the terminal to a query of the guest, such as the position of the cursor.
   */
  readonly onReply: (text: string) => void
}

/** Headless terminal on a serial line. */
export class ScreenTerminal {
  readonly #terminal: Terminal
  readonly #feed: ScreenFeed
  #isReplaying = false
  /** If true, replies to queries of the guest: position of the cursor, type of the terminal. */
  sendsReplies = false

  private constructor(terminal: Terminal, hooks: TerminalHooks) {
    this.#terminal = terminal
    this.#feed = new ScreenFeed(terminal, hooks.onDrawn)
    terminal.onData((text) => this.sendsReplies && !this.#isReplaying && hooks.onReply(text))
    keepWrapping(terminal)
    limitSequences(terminal)
  }

  /** Creates a terminal. Loads the library on first use. */
  static async open(columns: number, rows: number, hooks: TerminalHooks): Promise<ScreenTerminal> {
    const { default: headless } = await import('@xterm/headless')
    const size = { cols: columns, rows }
    const terminal = new headless.Terminal({
      ...size,
      scrollback: 0,
      logLevel: 'off',
      allowProposedApi: true,
    })
    return new ScreenTerminal(terminal, hooks)
  }

  get lines(): string[] {
    const { active } = this.#terminal.buffer
    return Array.from({ length: this.#terminal.rows }, (_, row) => {
      const line = active.getLine(active.baseY + row)?.translateToString(true) ?? ''
      const kept = row === active.cursorY ? line.slice(0, active.cursorX) : ''
      return kept + line.slice(kept.length).trimEnd()
    })
  }

  get cursor(): { readonly row: number; readonly column: number } {
    const { cursorX, cursorY } = this.#terminal.buffer.active
    return { row: cursorY, column: cursorX }
  }

  get columns(): number {
    return this.#terminal.cols
  }

  get rows(): number {
    return this.#terminal.rows
  }

  /** True if a program has enabled the application mode of the cursor keys. */
  get isApplicationMode(): boolean {
    return this.#terminal.modes.applicationCursorKeysMode
  }

  /** Draws past output. Queries in it are not answered. */
  async replay(text: string): Promise<void> {
    this.#isReplaying = true
    this.#feed.push(text)
    await this.#feed.flushed()
    this.#isReplaying = false
  }

  /** Draws new output. */
  push(text: string): void {
    this.#feed.push(text)
  }

  /** Resolves when all output pushed so far is drawn and its queries are answered. */
  flushed(): Promise<void> {
    return this.#feed.flushed()
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows)
  }
}

/**
 * Ignores SeaBIOS's request to disable line wrapping after its reset of the terminal: later
 * programs would lose the ends of long lines. Requests of other programs are honored.
 */
function keepWrapping(terminal: Terminal): void {
  let isJustReset = false
  terminal.parser.registerEscHandler({ final: 'c' }, () => {
    isJustReset = true
    return false
  })
  terminal.parser.registerCsiHandler({ prefix: '?', final: 'l' }, (params) => {
    const isOfFirmware = isJustReset && params.length === 1 && params[0] === 7
    isJustReset = false
    return isOfFirmware
  })
}
