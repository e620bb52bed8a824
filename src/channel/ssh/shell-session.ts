import type { Duplex } from 'node:stream'
import type { ClientChannel, PseudoTtyOptions } from 'ssh2'

/** The size and the kind of a terminal. */
export interface Terminal {
  /** @default 80 */
  readonly columns?: number | undefined
  /** @default 24 */
  readonly rows?: number | undefined
  /** What the guest gets as `TERM`. @default 'xterm-256color' */
  readonly term?: string | undefined
}

export interface ShellOptions extends Terminal {
  /** Runs this in place of the user's login shell. */
  readonly command?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** An interactive session on a terminal in the guest. */
export class ShellSession {
  /** What is typed goes in, what the terminal shows comes out. */
  readonly stream: Duplex
  /** Resolves when the session has ended; both are undefined when the connection was lost. */
  readonly ended: Promise<{ readonly exitCode: number | undefined; readonly signal: string | undefined }>
  readonly #channel: ClientChannel

  constructor(channel: ClientChannel) {
    this.#channel = channel
    this.stream = channel
    channel.stderr.resume() // a terminal has one stream; without this the end would wait for ever
    this.ended = new Promise((resolve) => {
      channel.on('error', () => {}) // 'close' follows
      channel.once('close', (code?: number | null, signal?: string) =>
        resolve({ exitCode: code ?? undefined, signal }),
      )
    })
  }

  /** Tells the guest the new size of the terminal. */
  resize(columns: number, rows: number): void {
    if (this.#channel.writable) this.#channel.setWindow(rows, columns, 0, 0)
  }

  close(): void {
    this.#channel.close()
  }
}

export function toPty(terminal: Terminal): PseudoTtyOptions {
  return {
    cols: terminal.columns ?? 80,
    rows: terminal.rows ?? 24,
    term: terminal.term ?? 'xterm-256color',
  }
}
