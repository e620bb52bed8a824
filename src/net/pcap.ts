/** Packet of a capture. */
export interface CapturedPacket {
  /** Time in milliseconds since 1970, by the clock of the capture. */
  readonly atMs: number
  /** Captured bytes, possibly truncated. */
  readonly bytes: Buffer
  /** Original length of the packet. */
  readonly length: number
}

const FILE_HEADER = 24
const PACKET_HEADER = 16
/** Magic number in the byte order of the writer (libpcap's file format). */
const MAGIC = 0xa1b2c3d4
/** Maximum packet length of libpcap (MAXIMUM_SNAPLEN of pcap-common.c). */
const MAX_PACKET_BYTES = 262_144

/** Incremental reader for captures in libpcap's format. */
export class PcapReader {
  #rest: Buffer = Buffer.alloc(0)
  #isLittleEndian: boolean | undefined
  #isMalformed = false

  /**
   * True if the file is not a capture or a packet length is invalid. The rest of the file is
   * dropped.
   */
  get isMalformed(): boolean {
    return this.#isMalformed
  }

  /** Adds bytes and returns the packets that they complete. */
  push(chunk: Buffer): CapturedPacket[] {
    if (this.#isMalformed) return []
    let buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (this.#isLittleEndian === undefined) {
      if (buffer.length < FILE_HEADER) {
        this.#rest = buffer
        return []
      }
      this.#isLittleEndian = buffer.readUInt32LE(0) === MAGIC
      if (!this.#isLittleEndian && buffer.readUInt32BE(0) !== MAGIC) return this.#markMalformed([])
      buffer = buffer.subarray(FILE_HEADER)
    }
    const read = (at: number) => (this.#isLittleEndian ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at))
    const packets: CapturedPacket[] = []
    let at = 0
    while (at + PACKET_HEADER <= buffer.length) {
      const kept = read(at + 8)
      const length = read(at + 12)
      if (kept > MAX_PACKET_BYTES || kept > length) return this.#markMalformed(packets)
      const end = at + PACKET_HEADER + kept
      if (end > buffer.length) break
      packets.push({
        atMs: read(at) * 1000 + read(at + 4) / 1000,
        bytes: buffer.subarray(at + PACKET_HEADER, end),
        length,
      })
      at = end
    }
    this.#rest = Buffer.from(buffer.subarray(at))
    return packets
  }

  #markMalformed(packets: CapturedPacket[]): CapturedPacket[] {
    this.#isMalformed = true
    this.#rest = Buffer.alloc(0)
    return packets
  }
}
