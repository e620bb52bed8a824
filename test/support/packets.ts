/** Builds captures in the format of QEMU's `filter-dump`. */

const MAC = '525400aabbcc'

export interface Packet {
  /** Time since the start of the capture, microseconds. */
  readonly atUs: number
  readonly frame: Buffer
  /** Number of bytes that the capture keeps. @default all */
  readonly kept?: number
}

export function makePcap(packets: readonly Packet[], order: 'LE' | 'BE' = 'LE'): Buffer {
  const write = (...values: number[]) => {
    const buffer = Buffer.alloc(values.length * 4)
    for (const [index, value] of values.entries()) {
      if (order === 'LE') buffer.writeUInt32LE(value, index * 4)
      else buffer.writeUInt32BE(value, index * 4)
    }
    return buffer
  }
  const header = write(0xa1b2c3d4, 0, 0, 0, 65_536, 1)
  const bodies = packets.map(({ atUs, frame, kept = frame.length }) =>
    Buffer.concat([
      write(1_700_000_000 + Math.floor(atUs / 1e6), atUs % 1e6, kept, frame.length),
      frame.subarray(0, kept),
    ]),
  )
  return Buffer.concat([header, ...bodies])
}

export function udpFrame(ports: readonly [number, number], payload: Buffer, version: 4 | 6 = 4): Buffer {
  const udp = Buffer.alloc(8)
  udp.writeUInt16BE(ports[0], 0)
  udp.writeUInt16BE(ports[1], 2)
  udp.writeUInt16BE(payload.length + 8, 4)
  const ip = Buffer.alloc(version === 4 ? 20 : 40)
  if (version === 4) {
    ip[0] = 0x45
    ip[9] = 17
  } else {
    ip[0] = 0x60
    ip[6] = 17
  }
  const ethernet = Buffer.from(`ffffffffffff${MAC}${version === 4 ? '0800' : '86dd'}`, 'hex')
  return Buffer.concat([ethernet, ip, udp, payload])
}

export const tftp = {
  read: (path: string, ...options: string[]) =>
    Buffer.concat([Buffer.from([0, 1]), Buffer.from([path, 'octet', ...options, ''].join('\0'))]),
  optionsAck: (...options: string[]) =>
    Buffer.concat([Buffer.from([0, 6]), Buffer.from([...options, ''].join('\0'))]),
  data: (block: number, size: number) => {
    const message = Buffer.alloc(4 + size)
    message.writeUInt16BE(3, 0)
    message.writeUInt16BE(block, 2)
    return message
  },
  error: (code: number, text: string) =>
    Buffer.from(`\0\x05\0${String.fromCharCode(code)}${text}\0`, 'latin1'),
}

export function dhcpMessage(
  type: number,
  more: {
    readonly address?: number[]
    readonly file?: string
    readonly options?: Record<number, Buffer>
  } = {},
): Buffer {
  const message = Buffer.alloc(240)
  message.write('cafe0001', 4, 'hex')
  message.write(MAC, 28, 'hex')
  if (more.address !== undefined) Buffer.from(more.address).copy(message, 16)
  if (more.file !== undefined) message.write(more.file, 108)
  message.write('63825363', 236, 'hex')
  const options = { 53: Buffer.from([type]), ...more.options }
  const encoded = Object.entries(options).map(([code, value]) =>
    Buffer.concat([Buffer.from([Number(code), value.length]), value]),
  )
  return Buffer.concat([message, ...encoded, Buffer.from([255])])
}
