import type { Datagram } from './datagram.js'
import { MALFORMED } from './malformed.js'
import type { NetbootRequest } from './netboot-request.js'

const SERVER_PORT = 69
const OPCODE = { read: 1, write: 2, data: 3, ack: 4, error: 5, optionsAck: 6 } as const
const DEFAULT_BLOCK = 512
/** Limits of RFC 2348. */
const BLOCK = { min: 8, max: 65_464 } as const
/** Error code "File not found" (RFC 1350, 5.). */
const NOT_FOUND = 1
/**
 * Maximum number of open transfers; older ones count as aborted. QEMU's server supports 20
 * (TFTP_SESSIONS_MAX of libslirp).
 */
const MAX_TRANSFERS = 256

interface Transfer {
  readonly request: Mutable
  readonly atMs: number
  /** Number of the last block, which has 16 bits. */
  lastBlock: number
  /** Number of times that the block number has wrapped around. */
  wraps: number
}

type Mutable = { -readonly [K in keyof NetbootRequest]: NetbootRequest[K] }

/** Records TFTP transfers from captured datagrams. */
export class TftpLog {
  readonly #transfers = new Map<number, Transfer>()
  readonly #begin: (request: NetbootRequest) => void
  readonly #end: (request: NetbootRequest) => void

  constructor(on: { begin(request: NetbootRequest): void; end(request: NetbootRequest): void }) {
    this.#begin = on.begin
    this.#end = on.end
  }

  /**
   * Adds a datagram; ignores other protocols. Returns {@link MALFORMED} for a message that violates
   * the RFCs.
   */
  add(datagram: Datagram): typeof MALFORMED | undefined {
    const { payload, sourcePort, destinationPort } = datagram
    if (destinationPort !== SERVER_PORT && sourcePort !== SERVER_PORT) return undefined
    if (payload.length < 4) return MALFORMED
    const opcode = payload.readUInt16BE(0)
    if (destinationPort !== SERVER_PORT) return this.#fromServer(destinationPort, opcode, datagram)
    if (opcode === OPCODE.read || opcode === OPCODE.write) return this.#open(datagram, opcode)
    this.#fromGuest(sourcePort, opcode, datagram)
    return undefined
  }

  /** Marks open transfers as aborted after a reset of the guest. */
  abandon(): void {
    for (const transfer of this.#transfers.values()) transfer.request.status = 'aborted'
    this.#transfers.clear()
  }

  #open({ payload, length, sourcePort: port, atMs }: Datagram, opcode: number): typeof MALFORMED | undefined {
    const end = payload.indexOf(0, 2)
    // A request has at most 512 bytes (RFC 2347), so the capture contains all of it.
    if (end <= 2 || length > payload.length) return MALFORMED
    const path = payload.toString('utf8', 2, end)
    const known = this.#transfers.get(port)
    // A retransmission belongs to the same request.
    if (known?.request.path === path && known.request.bytes === 0) return undefined
    const request: Mutable = {
      protocol: 'tftp',
      path,
      status: 'pending',
      code: undefined,
      bytes: 0,
      blksize: DEFAULT_BLOCK,
      startedAt: new Date(atMs),
      durationMs: undefined,
    }
    if (opcode === OPCODE.write) request.status = 'failed'
    const [oldest] = this.#transfers.keys()
    if (oldest !== undefined && this.#transfers.size >= MAX_TRANSFERS) this.#close(oldest, 'aborted', atMs)
    this.#transfers.set(port, { request, atMs, lastBlock: 0, wraps: 0 })
    this.#begin(request)
    return undefined
  }

  #fromServer(
    port: number,
    opcode: number,
    { payload, length, atMs }: Datagram,
  ): typeof MALFORMED | undefined {
    const transfer = this.#transfers.get(port)
    if (transfer === undefined) return undefined
    const { request } = transfer
    if (opcode === OPCODE.optionsAck) {
      const words = payload.toString('latin1', 2).toLowerCase().split('\0')
      const at = words.indexOf('blksize')
      if (at < 0) return undefined
      const blksize = Number(words[at + 1])
      const isValid = Number.isInteger(blksize) && blksize >= BLOCK.min && blksize <= BLOCK.max
      if (!isValid) return MALFORMED
      request.blksize = blksize
    } else if (opcode === OPCODE.error) {
      const code = payload.readUInt16BE(2)
      request.code = code
      this.#close(port, code === NOT_FOUND ? 'not found' : 'failed', atMs)
    } else if (opcode === OPCODE.data) {
      const block = payload.readUInt16BE(2)
      if (block < transfer.lastBlock - 0x8000) transfer.wraps++
      transfer.lastBlock = block
      const size = length - 4
      const number = transfer.wraps * 0x10000 + block
      request.bytes = Math.max(request.bytes, (number - 1) * (request.blksize ?? DEFAULT_BLOCK) + size)
      // The last block is shorter than the block size, and may be empty.
      if (size < (request.blksize ?? DEFAULT_BLOCK)) this.#close(port, 'complete', atMs)
    }
    return undefined
  }

  /**
   * Handles an error sent by the guest: loaders abort a transfer after they have learned the size
   * of the file.
   */
  #fromGuest(port: number, opcode: number, { payload, atMs }: Datagram): void {
    if (opcode !== OPCODE.error || !this.#transfers.has(port)) return
    const transfer = this.#transfers.get(port) as Transfer
    transfer.request.code = payload.readUInt16BE(2)
    this.#close(port, 'aborted', atMs)
  }

  #close(port: number, status: NetbootRequest['status'], atMs: number): void {
    const transfer = this.#transfers.get(port)
    if (transfer === undefined) return
    this.#transfers.delete(port)
    transfer.request.status = status
    transfer.request.durationMs = Math.round(atMs - transfer.atMs)
    this.#end(transfer.request)
  }
}
