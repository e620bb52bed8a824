/**
 * Decoded picture: four bytes per pixel (red, green, blue, opacity), in rows from the top left
 * corner.
 */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Buffer
}

/** Decodes binary PPM of 8 bits, which every QEMU can write. */
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

/**
 * Maximum number of pixels, above that of any screen. Each takes four bytes, regardless of the file
 * size.
 */
const MAX_PIXELS = 64 * 1024 * 1024

/** Maximum number of chunks: libpng writes 8 KiB of compressed pixels per chunk. */
const MAX_CHUNKS = 100_000

/**
 * Decodes PNG of at most 8 bits per channel, not interlaced. @throws {Error} for any other file.
 */
export async function decodePng(png: Buffer): Promise<Picture> {
  requireBounded(png)
  const { PNG } = await loadPng()
  const { width, height, data } = PNG.sync.read(png)
  return { width, height, data }
}

/**
 * Reads the size of a PNG, pixels (PNG specification, 11.2.2: the first chunk).
 * @throws {TypeError} for any other file.
 */
export function readPngSize(png: Buffer): { readonly width: number; readonly height: number } {
  if (png.length < 24 || png.toString('latin1', 12, 16) !== 'IHDR') throw new TypeError('not a PNG')
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20) }
}

/**
 * Rejects a PNG whose decoding by pngjs is not bounded by its number of pixels: pngjs inflates
 * interlaced pixels without a limit, uses the last of several headers, and keeps all entries of all
 * palettes. Neither QEMU nor {@link encodePng} writes such a file.
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

/** Encodes a picture as PNG without opacity. */
export async function encodePng({ width, height, data }: Picture): Promise<Buffer> {
  const { PNG } = await loadPng()
  const png = new PNG({ width, height })
  png.data = data
  // Unfiltered rows take a third of the time, and screens have large areas of one color.
  return PNG.sync.write(png, { colorType: 2, filterType: 0 })
}

/** Loaded on first use, which keeps the import of withvm fast. */
async function loadPng() {
  return (await import('pngjs')).default
}
