import { expect, test } from 'vitest'
import { comparePictures, paintOver } from '../../../fixtures/matchers/compare-pictures.js'
import { enlargeForReading } from '../../../src/vm/display/enlarge.js'
import { decodePng, decodePpm, encodePng } from '../../../src/vm/display/picture.js'

const ppm = Buffer.concat([
  Buffer.from('P6\n2 2\n255\n'),
  Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 13, 32]),
])
const pixels = [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 10, 13, 32, 255]

test('a picture of QEMU becomes a PNG of the same size and the same pixels', async () => {
  const picture = decodePpm(ppm)
  expect([...picture.data]).toEqual(pixels)
  const png = await encodePng(picture)
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  expect(await decodePng(png)).toEqual({ width: 2, height: 2, data: Buffer.from(pixels) })
})

test('what is no such picture is refused', () => {
  expect(() => decodePpm(Buffer.from('P3\n1 1\n255\n1 2 3\n'))).toThrow('not a binary PPM of 8 bits')
})

test('a picture to be read is twice as large, and dark on light', () => {
  const dark = decodePpm(
    Buffer.concat([Buffer.from('P6 3 1 255 '), Buffer.from([0, 0, 0, 255, 255, 255, 0, 0, 0])]),
  )
  const pgm = enlargeForReading(dark) as Buffer
  expect(pgm.subarray(0, 11).toString()).toBe('P5\n6 2\n255\n')
  expect([...pgm.subarray(11, 17)]).toEqual([255, 191, 63, 63, 191, 255])
})

test('a picture of one colour has no text', () => {
  expect(enlargeForReading({ width: 8, height: 8, data: Buffer.alloc(256, 0x40) })).toBeUndefined()
})

test('what is painted over does not differ, and areas may reach beyond the edges', async () => {
  const picture = decodePpm(ppm)
  const other = { ...picture, data: Buffer.from(pixels.map((value, index) => (index < 4 ? 255 : value))) }
  expect((await comparePictures(picture, other, 0.1))?.count).toBe(1)
  const mask = [{ x: -1, y: -1, width: 2, height: 2 }]
  const painted = paintOver(other, mask)
  expect((await comparePictures(paintOver(picture, mask), painted, 0.1))?.count).toBe(0)
  expect([...painted.data.subarray(4)]).toEqual(pixels.slice(4))
  expect(await comparePictures(picture, { width: 1, height: 1, data: Buffer.alloc(4) }, 0.1)).toBeUndefined()
})
