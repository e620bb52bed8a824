/** One packet of a capture. */
export interface CapturedPacket {
  /** When it passed, milliseconds since 1970 by the clock of the capture. */
  readonly atMs: number
  /** What was kept of it: its beginning, where it was cut. */
  readonly bytes: Buffer
  /** How long it was on the wire. */
  readonly length: number
}

const FILE_HEADER = 24
const PACKET_HEADER = 16
/** The byte order is the writer's: the magic number tells which (libpcap's file format). */
const MAGIC = 0xa1b2c3d4

/** Reads a capture in libpcap's format piece by piece, as it is written. */
export class PcapReader {
  #rest: Buffer = Buffer.alloc(0)
  #isLittleEndian: boolean | undefined

  /** Gives the packets that are whole by now. */
  push(chunk: Buffer): CapturedPacket[] {
    let buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (this.#isLittleEndian === undefined) {
      if (buffer.length < FILE_HEADER) {
        this.#rest = buffer
        return []
      }
      this.#isLittleEndian = buffer.readUInt32LE(0) === MAGIC
      buffer = buffer.subarray(FILE_HEADER)
    }
    const read = (at: number) => (this.#isLittleEndian ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at))
    const packets: CapturedPacket[] = []
    let at = 0
    while (at + PACKET_HEADER <= buffer.length) {
      const end = at + PACKET_HEADER + read(at + 8)
      if (end > buffer.length) break
      packets.push({
        atMs: read(at) * 1000 + read(at + 4) / 1000,
        bytes: buffer.subarray(at + PACKET_HEADER, end),
        length: read(at + 12),
      })
      at = end
    }
    this.#rest = Buffer.from(buffer.subarray(at))
    return packets
  }
}
