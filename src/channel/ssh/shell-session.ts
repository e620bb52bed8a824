import type { Duplex } from 'node:stream'
import type { ClientChannel } from 'ssh2'

/** Size and type of a terminal. */
export interface Terminal {
  /** Number of columns. @default 80 */
  readonly columns?: number | undefined
  /** Number of rows. @default 24 */
  readonly rows?: number | undefined
  /** Value of the environment variable `TERM` in the guest. @default 'xterm-256color' */
  readonly term?: string | undefined
}

/** Options of `vm.ssh.shell()`. */
export interface ShellOptions extends Terminal {
  /** Command to run instead of the user's login shell. */
  readonly command?: string | undefined
  /** Aborts the start of the session. */
  readonly signal?: AbortSignal | undefined
}

/** Interactive session on a terminal in the guest. */
export class ShellSession {
  /** Input and output of the terminal. */
  readonly stream: Duplex
  /** Resolves when the session has ended. Both values are undefined if the connection was lost. */
  readonly ended: Promise<{ readonly exitCode: number | undefined; readonly signal: string | undefined }>
  readonly #channel: ClientChannel

  /** @internal */
  constructor(channel: ClientChannel) {
    this.#channel = channel
    this.stream = channel
    channel.stderr.resume() // unused by terminals, but 'close' requires that it is read
    this.ended = new Promise((resolve) => {
      channel.on('error', () => {}) // 'close' follows
      channel.once('close', (code?: number | null, signal?: string) =>
        resolve({ exitCode: code ?? undefined, signal }),
      )
    })
  }

  /** Sends a new terminal size to the guest. */
  resize(columns: number, rows: number): void {
    if (this.#channel.writable) this.#channel.setWindow(rows, columns, 0, 0)
  }

  /** Closes the session. */
  close(): void {
    this.#channel.close()
  }
}
