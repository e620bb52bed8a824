import { closeSync, constants, openSync, writeSync } from 'node:fs'

const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = constants

/**
 * Log file of a serial console, with each byte once and in order. It is written from the console's socket, because
 * QEMU's `logfile=` logs bytes again that a full socket did not take (seen in 7.2: `qemu_chr_write_buffer()` treats
 * EAGAIN like a lost connection). While nobody reads the socket, the guest waits, so no byte is missing either.
 */
export class ConsoleLogFile {
  readonly #fd: number
  readonly #maxBytes: number
  #bytes = 0
  #failure: Error | undefined
  #isClosed = false

  private constructor(fd: number, maxBytes: number) {
    this.#fd = fd
    this.#maxBytes = maxBytes
  }

  /** Creates the file, for its owner alone. Throws if there is one, or a link. */
  static create(path: string): ConsoleLogFile {
    return new ConsoleLogFile(
      openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0o600),
      Infinity,
    )
  }

  /** Continues a log whose file is open for appending. Bytes above the limit are dropped. */
  static continue(fd: number, maxBytes: number): ConsoleLogFile {
    return new ConsoleLogFile(fd, maxBytes)
  }

  /** Descriptor of the file, for a process that continues the log. */
  get fd(): number {
    return this.#fd
  }

  /** Why the file ends early, as on a full disk; undefined while it is complete. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** Appends bytes before it returns, so that the file is never behind what a test has seen. */
  write(bytes: Uint8Array): void {
    const kept = bytes.subarray(0, Math.max(0, this.#maxBytes - this.#bytes))
    try {
      for (let at = 0; at < kept.length && this.#failure === undefined && !this.#isClosed; ) {
        at += writeSync(this.#fd, kept, at)
      }
    } catch (error) {
      this.#failure = error as Error
    }
    this.#bytes += kept.length
  }

  /** Closes the file. Safe to call again. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    closeSync(this.#fd)
  }
}
