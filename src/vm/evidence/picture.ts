/** A picture, decoded: four bytes a pixel, red, green, blue and opacity, row by row from the left upper corner. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Buffer
}

/** Reads the form in which QEMU always can write a picture: binary PPM of 8 bits. */
export function decodePpm(ppm: Buffer): Picture {
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(ppm.subarray(0, 64).toString('latin1'))
  if (head === null) throw new TypeError('not a binary PPM of 8 bits')
  const [width, height] = [Number(head[1]), Number(head[2])]
  if (ppm.length - head[0].length < width * height * 3) throw new TypeError('a PPM that is cut off')
  const data = Buffer.alloc(width * height * 4, 0xff)
  for (let pixel = 0, at = head[0].length; pixel < width * height; pixel++, at += 3) {
    ppm.copy(data, pixel * 4, at, at + 3)
  }
  return { width, height, data }
}

/** More pixels than any screen has: a picture takes four bytes for each, whatever the length of its file. */
const MAX_PIXELS = 64 * 1024 * 1024

/** libpng writes 8 KiB of compressed pixels in a chunk. */
const MAX_CHUNKS = 100_000

/** Reads PNG of at most 8 bits a channel that is not interlaced. @throws {Error} for what is none. */
export async function decodePng(png: Buffer): Promise<Picture> {
  requireBounded(png)
  const { PNG } = await loadPng()
  const { width, height, data } = PNG.sync.read(png)
  return { width, height, data }
}

/** Reads how large a picture is, pixels (PNG specification, 11.2.2: the first chunk). @throws {TypeError} for what is no PNG. */
export function readPngSize(png: Buffer): { readonly width: number; readonly height: number } {
  if (png.length < 24 || png.toString('latin1', 12, 16) !== 'IHDR') throw new TypeError('not a PNG')
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20) }
}

/**
 * Refuses a PNG for which pngjs takes time or memory that the number of its pixels does not bound: it inflates interlaced pixels without
 * a limit, takes the last of several headers, and keeps each entry of each palette. Neither QEMU nor {@link encodePng} writes such a file.
 */
function requireBounded(png: Buffer): void {
  const { width, height } = readPngSize(png)
  const pixels = width * height
  if (pixels === 0 || pixels > MAX_PIXELS) throw new TypeError(`a PNG of ${width} x ${height} pixels`)
  const [depth = 0, , , , interlace] = png.subarray(24, 29)
  if (depth > 8) throw new TypeError(`a PNG of ${depth} bits a channel`)
  if (interlace !== 0) throw new TypeError('an interlaced PNG')
  const found = { IHDR: 0, PLTE: 0 }
  let chunks = 0
  for (let at = 8; at + 8 <= png.length; at += 12 + png.readUInt32BE(at)) {
    const type = png.toString('latin1', at + 4, at + 8)
    if (type === 'PLTE' && png.readUInt32BE(at) > 256 * 3)
      throw new TypeError('a PNG with a palette that is too large')
    if ((type === 'IHDR' || type === 'PLTE') && ++found[type] > 1)
      throw new TypeError(`a PNG with several chunks ${type}`)
    if (++chunks > MAX_CHUNKS) throw new TypeError(`a PNG of more than ${MAX_CHUNKS} chunks`)
  }
}

/** Writes a picture as PNG, without its opacity. */
export async function encodePng({ width, height, data }: Picture): Promise<Buffer> {
  const { PNG } = await loadPng()
  const png = new PNG({ width, height })
  png.data = data
  // Rows that are not filtered: screens have large areas of one colour, and it takes a third of the time.
  return PNG.sync.write(png, { colorType: 2, filterType: 0 })
}

/** Loaded late: most guests have no display, and importing withvm is to cost little. */
async function loadPng() {
  return (await import('pngjs')).default
}
