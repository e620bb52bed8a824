import { type FileHandle, open } from 'node:fs/promises'

/** Block size of a file system: smaller holes save nothing. */
const BLOCK_BYTES = 4096
const ZEROS = Buffer.alloc(BLOCK_BYTES)

/** Writes a new file sequentially, with holes instead of zeros. */
export class SparseFile {
  readonly #handle: FileHandle
  #bytes = 0

  private constructor(handle: FileHandle) {
    this.#handle = handle
  }

  static async create(path: string): Promise<SparseFile> {
    return new SparseFile(await open(path, 'wx'))
  }

  async append(piece: Buffer): Promise<void> {
    const start = this.#bytes
    let from = 0
    // Data between two holes is written in one call.
    for (let at = 0; at < piece.length; ) {
      const end = Math.min(piece.length, at + BLOCK_BYTES - ((start + at) % BLOCK_BYTES))
      if (piece.subarray(at, end).equals(ZEROS.subarray(0, end - at))) {
        await this.#write(piece.subarray(from, at), start + from)
        from = end
      }
      at = end
    }
    await this.#write(piece.subarray(from), start + from)
    this.#bytes = start + piece.length
  }

  async #write(bytes: Buffer, position: number): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(
        bytes,
        written,
        bytes.length - written,
        position + written,
      )
      written += bytesWritten
    }
  }

  /** Sets the final size, which includes a hole at the end, and closes the file. */
  async end(): Promise<void> {
    await this.#handle.truncate(this.#bytes)
    await this.close()
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}
