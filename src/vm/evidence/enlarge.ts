import type { Picture } from './picture.js'

/**
 * Scale factor: VGA glyphs are 16 pixels high; tesseract needs 20 to 30 (its documentation,
 * "Improving the quality of the output").
 */
const FACTOR = 2

/**
 * Converts a picture for tesseract: twice as large, in gray, dark on light, as binary PGM. Returns
 * undefined for a picture of a single color, which has no text.
 */
export function enlargeForReading({ width, height, data }: Picture): Buffer | undefined {
  const gray = new Uint8Array(width * height)
  let sum = 0
  let [darkest, lightest] = [255, 0]
  for (let pixel = 0, at = 0; pixel < gray.length; pixel++, at += 4) {
    const [red = 0, green = 0, blue = 0] = [data[at], data[at + 1], data[at + 2]]
    const light = Math.round(0.299 * red + 0.587 * green + 0.114 * blue) // ITU-R BT.601
    gray[pixel] = light
    sum += light
    darkest = Math.min(darkest, light)
    lightest = Math.max(lightest, light)
  }
  if (darkest === lightest) return undefined
  const isDark = sum / gray.length < 128
  const [columns, rows] = [width * FACTOR, height * FACTOR]
  const head = Buffer.from(`P5\n${columns} ${rows}\n255\n`)
  const pgm = Buffer.alloc(head.length + columns * rows)
  head.copy(pgm)
  let at = head.length
  for (let row = 0; row < rows; row++) {
    const { before: top, after: bottom, share: down } = between(row, height)
    for (let column = 0; column < columns; column++) {
      const { before: left, after: right, share: across } = between(column, width)
      const mix = (line: number) =>
        (gray[line * width + left] as number) * (1 - across) + (gray[line * width + right] as number) * across
      const light = mix(top) * (1 - down) + mix(bottom) * down
      pgm[at++] = isDark ? 255 - light : light
    }
  }
  return pgm
}

/**
 * Returns the two lines of the small picture around a line of the large one, and the weight of the
 * second.
 */
function between(line: number, count: number) {
  const position = Math.min(count - 1, Math.max(0, (line + 0.5) / FACTOR - 0.5))
  const before = Math.floor(position)
  return { before, after: Math.min(count - 1, before + 1), share: position - before }
}
