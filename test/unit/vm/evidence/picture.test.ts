import { expect, test } from 'vitest'
import { comparePictures, paintOver } from '../../../../fixtures/matchers/compare-pictures.js'
import { enlargeForReading } from '../../../../src/vm/evidence/enlarge.js'
import { decodePng, decodePpm, encodePng } from '../../../../src/vm/evidence/picture.js'

const ppm = Buffer.concat([
  Buffer.from('P6\n2 2\n255\n'),
  Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 13, 32]),
])
const pixels = [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 10, 13, 32, 255]

test('a screenshot of QEMU is converted to a PNG with the same size and pixels', async () => {
  const picture = decodePpm(ppm)
  expect([...picture.data]).toEqual(pixels)
  const png = await encodePng(picture)
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  expect(await decodePng(png)).toEqual({ width: 2, height: 2, data: Buffer.from(pixels) })
})

test('a file that is not a binary PPM is rejected', () => {
  expect(() => decodePpm(Buffer.from('P3\n1 1\n255\n1 2 3\n'))).toThrow('not a binary PPM of 8 bits')
})

type Chunk = readonly [type: string, data: Buffer]

/** Makes a PNG from chunks, with checksums of 0, because the chunks are rejected before. */
function makePng(chunks: readonly Chunk[]): Buffer {
  const parts = chunks.map(([type, data]) => {
    const head = Buffer.alloc(8)
    head.writeUInt32BE(data.length)
    head.write(type, 4)
    return Buffer.concat([head, data, Buffer.alloc(4)])
  })
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), ...parts])
}

function header(width: number, height: number, { depth = 8, interlace = 0 } = {}): Chunk {
  const data = Buffer.alloc(13)
  data.writeUInt32BE(width)
  data.writeUInt32BE(height, 4)
  data.set([depth, 2, 0, 0, interlace], 8)
  return ['IHDR', data]
}

test.each<[string, () => Buffer, string]>([
  ['interlaced pixels', () => makePng([header(8, 8, { interlace: 1 })]), 'an interlaced PNG'],
  ['a second header', () => makePng([header(8, 8), header(8, 8, { interlace: 1 })]), 'several chunks IHDR'],
  ['many pixels', () => makePng([header(2 ** 14, 2 ** 13)]), 'a PNG of 16384 x 8192 pixels'],
  ['no pixels in many rows', () => makePng([header(0, 2 ** 32 - 1)]), 'a PNG of 0 x 4294967295 pixels'],
  ['16 bits a channel', () => makePng([header(8, 8, { depth: 16 })]), 'a PNG of 16 bits'],
  [
    'a large palette',
    () => makePng([header(8, 8), ['PLTE', Buffer.alloc(771)]]),
    'a palette that is too large',
  ],
  [
    'several palettes',
    () => makePng([header(8, 8), ...Array(2).fill(['PLTE', Buffer.alloc(3)])]),
    'several chunks PLTE',
  ],
  [
    'empty chunks',
    () => makePng([header(8, 8), ...Array(100_001).fill(['IDAT', Buffer.alloc(0)])]),
    '100000 chunks',
  ],
  ['half a header', () => makePng([header(8, 8)]).subarray(0, 26), 'an interlaced PNG'],
])('a PNG with %s is rejected before it is inflated', async (_, make, why) => {
  await expect(decodePng(make())).rejects.toThrow(why)
})

test('a picture for text recognition is enlarged twice and dark on light', () => {
  const dark = decodePpm(
    Buffer.concat([Buffer.from('P6 3 1 255 '), Buffer.from([0, 0, 0, 255, 255, 255, 0, 0, 0])]),
  )
  const pgm = enlargeForReading(dark) as Buffer
  expect(pgm.subarray(0, 11).toString()).toBe('P5\n6 2\n255\n')
  expect([...pgm.subarray(11, 17)]).toEqual([255, 191, 63, 63, 191, 255])
})

test('a picture of one color has no text', () => {
  expect(enlargeForReading({ width: 8, height: 8, data: Buffer.alloc(256, 0x40) })).toBeUndefined()
})

test('masked areas are not compared, and areas may extend beyond the edges', async () => {
  const picture = decodePpm(ppm)
  const other = { ...picture, data: Buffer.from(pixels.map((value, index) => (index < 4 ? 255 : value))) }
  expect((await comparePictures(picture, other, 0.1))?.count).toBe(1)
  const mask = [{ x: -1, y: -1, width: 2, height: 2 }]
  const painted = paintOver(other, mask)
  expect((await comparePictures(paintOver(picture, mask), painted, 0.1))?.count).toBe(0)
  expect([...painted.data.subarray(4)]).toEqual(pixels.slice(4))
  expect(await comparePictures(picture, { width: 1, height: 1, data: Buffer.alloc(4) }, 0.1)).toBeUndefined()
})
