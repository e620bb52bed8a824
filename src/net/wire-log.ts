import { closeSync, readSync } from 'node:fs'
import { openWrittenFileSync } from '../common/files/written-file.js'
import { MIB } from '../common/units.js'
import { parseDatagram } from './datagram.js'
import { DhcpLog } from './dhcp.js'
import { MALFORMED } from './malformed.js'
import { PcapReader } from './pcap.js'
import { TftpLog } from './tftp.js'

const CHUNK_BYTES = MIB
/** Maximum number of bytes per read, so that a fast-growing capture does not block this process. */
const MAX_BYTES_PER_READ = 16 * CHUNK_BYTES

/** File with which the capture continues. */
interface NextFile {
  readonly path: string
  /**
   * True for the first file after a power-on. All transfers before the power-on are then closed.
   */
  readonly isPowerOn: boolean
}

/** Follows the network traffic of a guest by reading the capture that QEMU writes. */
export class WireLog {
  readonly #dhcp = new DhcpLog()
  readonly #tftp: TftpLog
  #file: string | undefined
  /** Files to read after the current one. */
  #next: NextFile[] = []
  #fd: number | undefined
  #reader = new PcapReader()
  #clockOffsetMs: number | undefined
  #malformed = 0
  #problem: string | undefined

  constructor(on: ConstructorParameters<typeof TftpLog>[0]) {
    this.#tftp = new TftpLog(on)
  }

  get exchanges() {
    return this.#dhcp.exchanges
  }

  /**
   * Number of packets dropped because they violate their protocol. A malformed capture counts as
   * one.
   */
  get malformed(): number {
    return this.#malformed
  }

  /** Error of the last attempt to read the capture; undefined if it succeeded. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Continues with the file of a new power-on, which may not exist yet. */
  follow(file: string): void {
    this.#continueWith({ path: file, isPowerOn: true })
  }

  /**
   * Continues with the next part of the same capture after the end of the current one. Transfers
   * continue.
   */
  continueWith(file: string): void {
    this.#continueWith({ path: file, isPowerOn: false })
  }

  /** Marks open transfers as aborted after a reset of the guest. */
  abandon(): void {
    this.readOn()
    this.#tftp.abandon()
  }

  /**
   * Synchronously reads new packets, at most 16 MiB, and updates the lists. A failed read is
   * retried by the next call.
   */
  readOn(): void {
    let left = MAX_BYTES_PER_READ
    while (this.#file !== undefined && left > 0) {
      left -= this.#readFile(this.#file, left)
      if (left <= 0) return
      const next = this.#next.shift()
      if (next === undefined) return
      this.#begin(next)
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#file = undefined
    this.#next = []
  }

  #continueWith(next: NextFile): void {
    if (this.#file === undefined) this.#begin(next)
    else this.#next.push(next)
    this.readOn()
  }

  #begin({ path, isPowerOn }: NextFile): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#file = path
    this.#reader = new PcapReader()
    this.#clockOffsetMs = undefined
    if (isPowerOn) this.#tftp.abandon()
  }

  /** Reads a file to its end, or `maxBytes` of it. Returns the number of bytes read. */
  #readFile(path: string, maxBytes: number): number {
    let total = 0
    try {
      this.#fd ??= openWrittenFileSync(path)
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
      while (total < maxBytes) {
        const size = readSync(this.#fd, chunk, 0, CHUNK_BYTES, null)
        if (size === 0) break
        total += size
        this.#take(Buffer.from(chunk.subarray(0, size)))
      }
      this.#problem = undefined
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      // ENOENT: not created yet, or removed with the folder of the run.
      this.#problem = code === 'ENOENT' ? undefined : message
    }
    return total
  }

  #take(chunk: Buffer): void {
    const wasMalformed = this.#reader.isMalformed
    for (const packet of this.#reader.push(chunk)) {
      // The capture uses the guest's clock, which stops with the guest and starts at a full second.
      this.#clockOffsetMs ??= Date.now() - packet.atMs
      const atMs = packet.atMs + this.#clockOffsetMs
      const datagram = parseDatagram({ ...packet, atMs })
      if (datagram === undefined) continue
      const isMalformed =
        datagram === MALFORMED ||
        this.#dhcp.add(datagram) === MALFORMED ||
        this.#tftp.add(datagram) === MALFORMED
      if (isMalformed) this.#malformed++
    }
    if (this.#reader.isMalformed && !wasMalformed) this.#malformed++
  }
}
