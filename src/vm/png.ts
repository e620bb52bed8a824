import { crc32, deflateSync } from 'node:zlib'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** 8 bits for each of red, green and blue, deflate, no interlacing (PNG specification, 11.2.2). */
const RGB_8_BIT = [8, 2, 0, 0, 0]

/** Turns a picture in the form in which QEMU always can write one, binary PPM of 8 bits, into PNG. */
export function pngFromPpm(ppm: Buffer): Buffer {
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(ppm.subarray(0, 64).toString('latin1'))
  if (head === null) throw new TypeError('not a binary PPM of 8 bits')
  const width = Number(head[1])
  const height = Number(head[2])
  const pixels = ppm.subarray(head[0].length)
  const rows = Array.from({ length: height }, (_, row) => [
    Buffer.from([0]), // this row is not filtered
    pixels.subarray(row * width * 3, (row + 1) * width * 3),
  ])
  const size = Buffer.alloc(8)
  size.writeUInt32BE(width, 0)
  size.writeUInt32BE(height, 4)
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', Buffer.concat([size, Buffer.from(RGB_8_BIT)])),
    chunk('IDAT', deflateSync(Buffer.concat(rows.flat()))),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, sum])
}
