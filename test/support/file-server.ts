import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

export interface FileServer {
  readonly url: string
  /** The `Range` of each request so far; undefined where there was none. */
  readonly ranges: (string | undefined)[]
  /** What it has now. */
  content: Buffer
  /** The answer to a request; by default the file, as a server that knows ranges gives it. */
  answer: (request: IncomingMessage, response: ServerResponse, requestNumber: number) => void
}

/** A server of this test's own that has one file, on the loopback, until the test ends. */
export async function startFileServer(content: Buffer): Promise<FileServer> {
  const server = createServer((request, response) => {
    file.ranges.push(request.headers.range)
    file.answer(request, response, file.ranges.length)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const file: FileServer = {
    url: `http://127.0.0.1:${port}/disk.img`,
    ranges: [],
    content,
    answer: (request, response) => sendFile(file.content, request, response),
  }
  return file
}

/** Answers as a server does that knows ranges; `maxBytes` later it cuts the connection. */
export function sendFile(
  content: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
  options: { readonly maxBytes?: number; readonly etag?: string; readonly knowsRanges?: boolean } = {},
): void {
  const { maxBytes = content.length, etag, knowsRanges = true } = options
  const wanted = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
  const isOther = request.headers['if-range'] !== undefined && request.headers['if-range'] !== etag
  const from = wanted === undefined || isOther || !knowsRanges ? 0 : Number(wanted)
  if (etag !== undefined) response.setHeader('etag', etag)
  if (from >= content.length && from > 0) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
    return
  }
  const isPart = from > 0
  if (isPart) response.setHeader('content-range', `bytes ${from}-${content.length - 1}/${content.length}`)
  response.writeHead(isPart ? 206 : 200, { 'content-length': content.length - from })
  const piece = content.subarray(from, from + maxBytes)
  if (from + piece.length === content.length) response.end(piece)
  else response.write(piece, () => setTimeout(() => response.destroy(), 50))
}
