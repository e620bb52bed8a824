import { closeSync, openSync, readSync } from 'node:fs'
import { parseDatagram } from './datagram.js'
import { DhcpLog } from './dhcp.js'
import { MALFORMED } from './malformed.js'
import { PcapReader } from './pcap.js'
import { TftpLog } from './tftp.js'

const CHUNK = 1024 ** 2

/** Reads along what passes on a guest's wire, from the file to which QEMU writes it. */
export class WireLog {
  readonly #dhcp = new DhcpLog()
  readonly #tftp: TftpLog
  #file: string | undefined
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
    this.continueWith(file)
    this.#tftp.abandon()
  }

  /** Continues with a new part of the same capture, once the old one has no more. Transfers go on. */
  continueWith(file: string): void {
    this.readOn()
    this.close()
    this.#file = file
    this.#reader = new PcapReader()
    this.#clockOffsetMs = undefined
  }

  /** Whatever was under way ended with a reset of the guest. */
  abandon(): void {
    this.readOn()
    this.#tftp.abandon()
  }

  /** Takes in what has come since. At once: what is asked for next is then up to date. What cannot be read is read the next time. */
  readOn(): void {
    if (this.#file === undefined) return
    try {
      this.#fd ??= openSync(this.#file, 'r')
      const chunk = Buffer.allocUnsafe(CHUNK)
      for (;;) {
        const size = readSync(this.#fd, chunk, 0, CHUNK, null)
        if (size === 0) break
        this.#take(Buffer.from(chunk.subarray(0, size)))
      }
      this.#problem = undefined
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      // Not there yet, or gone with the folder of the run.
      this.#problem = code === 'ENOENT' ? undefined : message
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#file = undefined
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
