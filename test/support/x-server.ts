import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { decodePpm, encodePng } from '../../src/vm/evidence/picture.js'

/** X server whose screen is a file. */
export interface XServer extends AsyncDisposable {
  /** Name for DISPLAY. */
  readonly display: string
  /** Takes a screenshot, as PNG. */
  screenshot(): Promise<Buffer>
}

/** Starts Xvfb of the package xvfb on a free display. */
export async function startXServer(): Promise<XServer> {
  const folder = await mkdtemp(join(tmpdir(), 'withvm-x-'))
  const screen = ['-screen', '0', '1024x768x24', '-fbdir', folder, '-nolisten', 'tcp']
  const server = execa('Xvfb', ['-displayfd', '1', ...screen], {
    reject: false,
    stdin: 'ignore',
    stderr: 'ignore',
  })
  const number = await new Promise<string>((resolve, reject) => {
    server.stdout.once('data', (bytes: Buffer) => resolve(bytes.toString().trim()))
    void server.then(({ message }) => reject(new Error(`Xvfb did not start: ${message}`)))
  })
  return {
    display: `:${number}`,
    screenshot: async () => pngFromXwd(await readFile(join(folder, 'Xvfb_screen0'))),
    [Symbol.asyncDispose]: async () => {
      server.kill()
      await server
      await rm(folder, { recursive: true })
    },
  }
}

/** Reads an X window dump of 32 bits a pixel (XWDFile.h): a header of 32-bit words, colors of 12 bytes, and rows of pixels. */
function pngFromXwd(xwd: Buffer): Promise<Buffer> {
  const word = (index: number) => xwd.readUInt32BE(index * 4)
  const [headerBytes, width, height, lineBytes, colors] = [word(0), word(4), word(5), word(12), word(19)]
  const start = headerBytes + colors * 12
  const rgb = Buffer.alloc(width * height * 3)
  for (let pixel = 0; pixel < width * height; pixel++) {
    const at = start + Math.floor(pixel / width) * lineBytes + (pixel % width) * 4
    for (const [place, from] of [2, 1, 0].entries()) rgb[pixel * 3 + place] = xwd[at + from] as number
  }
  return encodePng(decodePpm(Buffer.concat([Buffer.from(`P6 ${width} ${height} 255 `), rgb])))
}
