import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseDuration } from '../common/duration.js'
import type { HttpFault } from '../spec/netboot.js'
import { type NetbootRequest, normalizePath } from './netboot-request.js'

/** Content of a path: a regular file on the host, or bytes. */
export type ServedContent = { readonly path: string } | Uint8Array

type Mutable = { -readonly [K in keyof NetbootRequest]: NetbootRequest[K] }

export interface FileServerOptions {
  /** Unix socket to listen on. */
  readonly socket: string
  readonly find: (path: string) => Promise<ServedContent | undefined>
  readonly onRequest: (request: NetbootRequest) => void
  readonly onEnd: (request: NetbootRequest) => void
}

/** Maximum number of open connections. Boot loaders use one, a booting system a few. */
const MAX_CONNECTIONS = 64
/**
 * Maximum number of unanswered requests on a connection. apt sends 10
 * (`Acquire::http::Pipeline-Depth`).
 */
const MAX_PENDING_REQUESTS = 16
/** PATH_MAX of Linux's limits.h. */
const MAX_PATH_CHARS = 4096

/** HTTP server for network boot: serves files and byte ranges, and injects faults. */
export class FileServer {
  readonly #server: Server
  readonly #options: FileServerOptions
  readonly #faults = new Map<string, { fault: HttpFault; left: number }>()
  /** Unanswered requests by connection. */
  readonly #pending = new WeakMap<Socket, { count: number; last: Promise<void> }>()
  #malformed = 0
  #refused = 0

  private constructor(options: FileServerOptions) {
    this.#options = options
    this.#server = createServer((request, response) => {
      this.#answerInTurn(request, response)
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('drop', () => this.#refused++)
    this.#server.on('clientError', (_, socket) => {
      this.#malformed++
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
      else socket.destroy()
    })
  }

  /** Number of requests dropped because they are not valid HTTP. */
  get malformed(): number {
    return this.#malformed
  }

  /**
   * Number of connections refused because too many were open, or closed because of too many
   * requests.
   */
  get refused(): number {
    return this.#refused
  }

  static async listen(options: FileServerOptions): Promise<FileServer> {
    const server = new FileServer(options)
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject).listen(options.socket, resolve)
    })
    server.#server.unref()
    return server
  }

  /** Sets the fault of a file, or removes it if `fault` is undefined. */
  setFault(path: string, fault?: HttpFault): void {
    const name = normalizePath(path)
    if (fault === undefined) this.#faults.delete(name)
    else this.#faults.set(name, { fault, left: fault.times ?? Number.POSITIVE_INFINITY })
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  /**
   * Answers the requests of a connection one after the other. Node.js parses all requests that it
   * has received, and each request in progress keeps a file open and a part of it in memory until
   * the guest reads the response.
   */
  #answerInTurn(incoming: IncomingMessage, response: ServerResponse): void {
    const { socket } = incoming
    const pending = this.#pending.get(socket) ?? { count: 0, last: Promise.resolve() }
    this.#pending.set(socket, pending)
    if (socket.destroyed) return
    if (pending.count >= MAX_PENDING_REQUESTS) {
      this.#refused++
      socket.destroy()
      return
    }
    pending.count++
    pending.last = pending.last.then(async () => {
      if (socket.destroyed) return
      const isSent = new Promise((resolve) => response.once('close', resolve))
      await this.#answer(incoming, response).catch(() => response.destroy())
      await isSent
      pending.count--
    })
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = copyText(decodePath(incoming.url ?? '/').slice(0, MAX_PATH_CHARS))
    const exchange = new Exchange(path, response, this.#options)
    const fault = this.#takeFault(path)
    if (fault.delay !== undefined) await sleep(parseDuration(fault.delay))
    if (incoming.method !== 'GET' && incoming.method !== 'HEAD')
      return exchange.refuse(405, { Allow: 'GET, HEAD' })
    let file: FileHandle | undefined
    try {
      const content = fault.status === undefined ? await this.#options.find(path) : undefined
      if (content === undefined) return exchange.refuse(fault.status ?? 404)
      file = content instanceof Uint8Array ? undefined : await openFile(content.path)
      await exchange.send(file ?? (content as Uint8Array), incoming, fault)
    } catch (error) {
      exchange.fail(error)
      throw error
    } finally {
      await file?.close()
    }
  }

  #takeFault(path: string): HttpFault {
    const entry = this.#faults.get(normalizePath(path))
    if (entry === undefined || entry.left <= 0) return {}
    entry.left--
    return entry.fault
  }
}

/** One request and its response. */
class Exchange {
  readonly #request: Mutable
  readonly #response: ServerResponse
  readonly #onEnd: FileServerOptions['onEnd']
  readonly #startedAtMs = performance.now()
  #isOver = false

  constructor(path: string, response: ServerResponse, { onRequest, onEnd }: FileServerOptions) {
    this.#response = response
    this.#onEnd = onEnd
    this.#request = {
      protocol: 'http',
      path,
      status: 'pending',
      code: undefined,
      bytes: 0,
      blksize: undefined,
      startedAt: new Date(),
      durationMs: undefined,
    }
    onRequest(this.#request)
  }

  /** Responds without content. */
  refuse(code: number, headers: Record<string, string> = {}): void {
    this.#writeHead(code, { ...headers, ...(code === 405 ? {} : { 'Content-Length': 0 }) })
    this.#response.end()
    this.#end(code === 404 ? 'not found' : 'failed')
  }

  /** Sends a file, or the requested part of it, with the faults of a test. */
  async send(
    source: FileHandle | Uint8Array,
    { method, headers, socket }: IncomingMessage,
    fault: HttpFault,
  ): Promise<void> {
    const size = source instanceof Uint8Array ? source.length : (await source.stat()).size
    const range = parseRange(headers.range, size)
    if (range === 'none') return this.refuse(416, { 'Content-Range': `bytes */${size}` })
    const { start, end: last } = range ?? { start: 0, end: size - 1 }
    this.#writeHead(range === undefined ? 200 : 206, {
      'Content-Type': 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      'Content-Length': fault.contentLength ?? last - start + 1,
      ...(range && { 'Content-Range': `bytes ${start}-${last}/${size}` }),
    })
    if (method === 'HEAD') {
      this.#response.end()
      return this.#end('complete')
    }
    const sentBytes = Math.min(last - start + 1, fault.cutAfter ?? Number.POSITIVE_INFINITY)
    const isComplete = sentBytes === last - start + 1 && fault.contentLength === undefined
    try {
      await pipeline(
        sentBytes <= 0 ? Readable.from([]) : createRangeStream(source, start, start + sentBytes - 1),
        createThrottle(fault.bytesPerSecond, (bytes) => {
          this.#request.bytes += bytes
        }),
        this.#response,
        { end: false },
      )
    } catch (error) {
      // Guests close the connection as soon as they have received the announced length.
      if (isComplete && this.#request.bytes === sentBytes) return this.#end('complete')
      throw error
    }
    this.#response.end()
    // `response.socket` is null once the response has ended.
    if (!isComplete) socket.destroySoon()
    this.#end(isComplete ? 'complete' : 'failed')
  }

  /** Records the failure of a response, unless the request is already over. */
  fail(error: unknown): void {
    const isAborted = (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE'
    if (!this.#isOver) this.#end(isAborted ? 'aborted' : 'failed')
  }

  #writeHead(code: number, headers: Record<string, string | number>): void {
    this.#request.code = code
    this.#response.writeHead(code, headers)
  }

  #end(status: NetbootRequest['status']): void {
    this.#isOver = true
    this.#request.status = status
    this.#request.durationMs = performance.now() - this.#startedAtMs
    this.#onEnd(this.#request)
  }
}

/** Copies a string: a substring would keep the complete string in memory. */
function copyText(text: string): string {
  return Buffer.from(text).toString()
}

function decodePath(url: string): string {
  const path = url.split('?', 1)[0] as string
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** Opens a file of the author. Follows links. `O_NONBLOCK`: a FIFO or device must not block. */
async function openFile(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new Error(`${path} is not a regular file`)
}

function createRangeStream(content: FileHandle | Uint8Array, start: number, end: number): Readable {
  if (!(content instanceof Uint8Array)) return content.createReadStream({ start, end })
  return Readable.from([Buffer.from(content.buffer, content.byteOffset + start, end - start + 1)])
}

/** Counts bytes, and limits their rate if one is set. */
function createThrottle(bytesPerSecond: number | undefined, count: (bytes: number) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _, done) {
      count(chunk.length)
      if (bytesPerSecond === undefined) done(null, chunk)
      else setTimeout(() => done(null, chunk), (chunk.length / bytesPerSecond) * 1000).unref()
    },
  })
}

/**
 * Parses a header with one range of bytes (RFC 9110, 14.1.2). Returns `none` for an unsatisfiable
 * range, undefined for the complete file.
 */
function parseRange(
  header: string | undefined,
  size: number,
): { readonly start: number; readonly end: number } | 'none' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const isSuffix = match[1] === ''
  const start = isSuffix ? Math.max(0, size - Number(match[2])) : Number(match[1])
  const end = isSuffix || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  return start > end || start >= size ? 'none' : { start, end }
}
