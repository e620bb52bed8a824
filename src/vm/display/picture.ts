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
  const data = Buffer.alloc(width * height * 4, 0xff)
  for (let pixel = 0, at = head[0].length; pixel < width * height; pixel++, at += 3) {
    ppm.copy(data, pixel * 4, at, at + 3)
  }
  return { width, height, data }
}

/** Reads PNG, in any of its forms. @throws {Error} for what is none. */
export async function decodePng(png: Buffer): Promise<Picture> {
  const { PNG } = await loadPng()
  const { width, height, data } = PNG.sync.read(png)
  return { width, height, data }
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
