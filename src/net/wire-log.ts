import { closeSync, readSync } from 'node:fs'
import { openWrittenFileSync } from '../common/files/written-file.js'
import { parseDatagram } from './datagram.js'
import { DhcpLog } from './dhcp.js'
import { MALFORMED } from './malformed.js'
import { PcapReader } from './pcap.js'
import { TftpLog } from './tftp.js'

const CHUNK = 1024 ** 2
/** No more is read at a time, so that a capture that grows without end does not keep this process busy. */
const MOST_BYTES_AT_ONCE = 16 * CHUNK

/** A file that the capture continues with. */
interface NextFile {
  readonly path: string
  /** Whether it is the first of a power-on, which ends all transfers. */
  readonly isPowerOn: boolean
}

/** Reads along what passes on a guest's wire, from the file to which QEMU writes it. */
export class WireLog {
  readonly #dhcp = new DhcpLog()
  readonly #tftp: TftpLog
  #file: string | undefined
  /** What follows once the file has been read to its end. */
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

  /** How many packets were dropped as they contradict their protocol. A capture that is none counts as one. */
  get malformed(): number {
    return this.#malformed
  }

  /** Why the capture could not be read the last time; undefined where it could. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Continues with a new file, which need not be there yet. */
  follow(file: string): void {
    this.#continueWith({ path: file, isPowerOn: true })
  }

  /** Continues with a new part of the same capture, once the old one has no more. Transfers go on. */
  continueWith(file: string): void {
    this.#continueWith({ path: file, isPowerOn: false })
  }

  /** Whatever was under way ended with a reset of the guest. */
  abandon(): void {
    this.readOn()
    this.#tftp.abandon()
  }

  /** Reads what was captured since, at most 16 MiB at a time, before it returns: the lists are then up to date. A file that cannot be read is tried again the next time. */
  readOn(): void {
    let left = MOST_BYTES_AT_ONCE
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

  /** Reads a file to its end, or `most` bytes of it. Returns how many were read. */
  #readFile(path: string, most: number): number {
    let total = 0
    try {
      this.#fd ??= openWrittenFileSync(path)
      const chunk = Buffer.allocUnsafe(CHUNK)
      while (total < most) {
        const size = readSync(this.#fd, chunk, 0, CHUNK, null)
        if (size === 0) break
        total += size
        this.#take(Buffer.from(chunk.subarray(0, size)))
      }
      this.#problem = undefined
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      // Not there yet, or gone with the folder of the run.
      this.#problem = code === 'ENOENT' ? undefined : message
    }
    return total
  }

  #take(chunk: Buffer): void {
    const wasMalformed = this.#reader.isMalformed
    for (const packet of this.#reader.push(chunk)) {
      // The capture's clock is the guest's, which stands still with it and begins at a whole second.
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
