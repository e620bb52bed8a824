import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { MIB } from '../units.js'

export interface Checksum {
  readonly algorithm: 'sha256' | 'sha512'
  /** Lower-case hexadecimal digits. */
  readonly hex: string
}

const READ_BYTES = MIB

/** File that is written piece by piece and hashed at the same time. */
export class PartialFile {
  readonly #handle: FileHandle
  readonly #algorithm: Checksum['algorithm']
  #hash: Hash
  #bytes = 0
  #pieces = 0
  #validator: string | undefined

  private constructor(handle: FileHandle, algorithm: Checksum['algorithm']) {
    this.#handle = handle
    this.#algorithm = algorithm
    this.#hash = createHash(algorithm)
  }

  /** Opens the file and hashes its existing content. */
  static async open(path: string, algorithm: Checksum['algorithm']): Promise<PartialFile> {
    const file = new PartialFile(await open(path, constants.O_RDWR | constants.O_CREAT), algorithm)
    try {
      await file.#readBack()
    } catch (error) {
      await file.close()
      throw error
    }
    return file
  }

  async #readBack(): Promise<void> {
    const buffer = Buffer.alloc(READ_BYTES)
    for (;;) {
      const { bytesRead } = await this.#handle.read(buffer, 0, READ_BYTES, this.#bytes)
      if (bytesRead === 0) break
      this.#hash.update(buffer.subarray(0, bytesRead))
      this.#bytes += bytesRead
    }
    if (this.#bytes > 0) this.#pieces = 1
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Number of pieces. Only data of the same piece certainly belongs together. */
  get pieces(): number {
    return this.#pieces
  }

  /**
   * Validator of this version of the file; undefined if the server sent none or another process
   * received the data.
   */
  get validator(): string | undefined {
    return this.#validator
  }

  /** Starts another piece. */
  begin(validator: string | undefined): void {
    this.#pieces += 1
    this.#validator = validator
  }

  async append(piece: Uint8Array): Promise<void> {
    let written = 0
    while (written < piece.length) {
      const { bytesWritten } = await this.#handle.write(
        piece,
        written,
        piece.length - written,
        this.#bytes + written,
      )
      written += bytesWritten
    }
    this.#hash.update(piece)
    this.#bytes += piece.length
  }

  /** Discards the content. */
  async restart(): Promise<void> {
    await this.#handle.truncate(0)
    this.#hash = createHash(this.#algorithm)
    this.#bytes = 0
    this.#pieces = 0
    this.#validator = undefined
  }

  /** Returns the digest of the content, in hexadecimal. */
  digest(): string {
    return this.#hash.copy().digest('hex')
  }

  sync(): Promise<void> {
    return this.#handle.sync()
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}
