import type { Terminal } from '@xterm/headless'
import { ScreenFeed } from './screen-feed.js'

export interface TerminalHooks {
  /** Something was drawn. */
  readonly onDrawn: () => void
  /** Sends what the terminal answers to a question of the guest's, such as where its cursor is. */
  readonly onAnswer: (text: string) => void
}

/** A terminal without a window, at the end of a serial line. */
export class ScreenTerminal {
  readonly #terminal: Terminal
  readonly #feed: ScreenFeed
  #isReplaying = false
  /** Whether it answers what the guest asks: where the cursor is, what kind of terminal it is. */
  isAnswering = false

  private constructor(terminal: Terminal, hooks: TerminalHooks) {
    this.#terminal = terminal
    this.#feed = new ScreenFeed(terminal, hooks.onDrawn)
    terminal.onData((text) => this.isAnswering && !this.#isReplaying && hooks.onAnswer(text))
    keepWrapping(terminal)
    boundCounts(terminal)
  }

  /** Loads the library, which costs those nothing who look at no screen. */
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

  /** Whether a program asked for "application" cursor keys, which send something else. */
  get isApplicationMode(): boolean {
    return this.#terminal.modes.applicationCursorKeysMode
  }

  /** Draws what has come up to now. What the guest asked in it is not answered any more. */
  async replay(text: string): Promise<void> {
    this.#isReplaying = true
    this.#feed.push(text)
    await this.#feed.caughtUp()
    this.#isReplaying = false
  }

  /** Draws what comes. */
  push(text: string): void {
    this.#feed.push(text)
  }

  /** Resolves when all that has come up to now is drawn, and answered. */
  caughtUp(): Promise<void> {
    return this.#feed.caughtUp()
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows)
  }
}

/** What is done as often as a number says: lines inserted and deleted, scrolling up and down, tabs both ways, a character again. */
const REPEATING = ['L', 'M', 'S', 'T', 'I', 'Z', 'b']
/** More often than a screen has lines or columns. */
const MOST_TIMES = 512

/**
 * The terminal does each as often as it is told to, which keeps this process for hours where a guest says a billion times. What
 * nobody can mean is left out.
 */
function boundCounts(terminal: Terminal): void {
  for (const final of REPEATING) {
    terminal.parser.registerCsiHandler({ final }, ([count = 1]) => {
      return typeof count === 'number' && count > MOST_TIMES
    })
  }
}

/**
 * SeaBIOS resets the terminal and switches its wrapping off for good, so that long lines of all that runs later
 * would be lost at the right edge. Programs that switch it off themselves are obeyed.
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
