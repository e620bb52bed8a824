import { crc32, inflateSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { pngFromPpm } from '../../../src/vm/png.js'

/** The chunks of a PNG, with their sums checked. */
function readChunks(png: Buffer): Record<string, Buffer> {
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  const chunks: Record<string, Buffer> = {}
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    const body = png.subarray(at + 4, at + 8 + length)
    expect(png.readUInt32BE(at + 8 + length)).toBe(crc32(body))
    chunks[body.subarray(0, 4).toString('latin1')] = body.subarray(4)
    at += 12 + length
  }
  return chunks
}

test('a picture of QEMU becomes a PNG of the same size and the same pixels', () => {
  const pixels = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 13, 32])
  const png = pngFromPpm(Buffer.concat([Buffer.from('P6\n2 2\n255\n'), pixels]))
  const { IHDR, IDAT, IEND } = readChunks(png)
  expect([...(IHDR as Buffer)]).toEqual([0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0])
  expect([...inflateSync(IDAT as Buffer)]).toEqual([
    0,
    ...pixels.subarray(0, 6),
    0,
    ...pixels.subarray(6, 12),
  ])
  expect(IEND).toHaveLength(0)
})

test('what is no such picture is refused', () => {
  expect(() => pngFromPpm(Buffer.from('P3\n1 1\n255\n1 2 3\n'))).toThrow('not a binary PPM of 8 bits')
})
