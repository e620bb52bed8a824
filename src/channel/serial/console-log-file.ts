import { closeSync, constants, openSync, writeSync } from 'node:fs'

const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = constants

/**
 * Log file of a serial console, which contains each byte once and in order. This process writes it,
 * because QEMU's `logfile=` repeats bytes that a full socket did not accept (QEMU 7.2:
 * `qemu_chr_write_buffer()` treats EAGAIN like a lost connection). A guest whose console is not
 * read blocks, so no byte is lost either.
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

  /** Creates the file with mode 0600. Throws if the path exists or is a link. */
  static create(path: string): ConsoleLogFile {
    return new ConsoleLogFile(
      openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0o600),
      Infinity,
    )
  }

  /** Continues a log whose file is open for appending. Bytes beyond the limit are dropped. */
  static continue(fd: number, maxBytes: number): ConsoleLogFile {
    return new ConsoleLogFile(fd, maxBytes)
  }

  /** File descriptor, for a process that continues the log. */
  get fd(): number {
    return this.#fd
  }

  /**
   * Write error, such as a full disk, because of which the file is incomplete; undefined if it is
   * complete.
   */
  get failure(): Error | undefined {
    return this.#failure
  }

  /**
   * Appends bytes synchronously, so that the file always contains the output that a test has seen.
   */
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

  /** Closes the file. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    closeSync(this.#fd)
  }
}
