import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

export interface FileServer {
  readonly url: string
  /** `Range` header of each request; undefined without one. */
  readonly ranges: (string | undefined)[]
  /** Current content of the file. */
  content: Buffer
  /** Responds to a request. @default sends the file, with support for ranges */
  respond: (request: IncomingMessage, response: ServerResponse, requestNumber: number) => void
}

/** Starts a server with one file on a loopback address, until the test ends. */
export async function startFileServer(content: Buffer): Promise<FileServer> {
  const server = createServer((request, response) => {
    file.ranges.push(request.headers.range)
    file.respond(request, response, file.ranges.length)
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
    respond: (request, response) => sendFile(file.content, request, response),
  }
  return file
}

/** Sends a file, with support for ranges. Cuts the connection after `maxBytes`. */
export function sendFile(
  content: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
  options: { readonly maxBytes?: number; readonly etag?: string; readonly supportsRanges?: boolean } = {},
): void {
  const { maxBytes = content.length, etag, supportsRanges = true } = options
  const requested = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
  const isOther = request.headers['if-range'] !== undefined && request.headers['if-range'] !== etag
  const from = requested === undefined || isOther || !supportsRanges ? 0 : Number(requested)
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
