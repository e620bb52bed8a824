import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { SpaceWatch } from '../common/files/free-space.js'
import { type Checksum, PartialFile } from '../common/files/partial-file.js'
import { toDiskError } from '../common/process/run-tool.js'
import { formatBytes } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'

export interface DownloadOptions {
  readonly url: string
  readonly checksum: Checksum
  /** The file to write. What is in it already is gone on from. */
  readonly path: string
  /** Called with how far it has come, as `120 MiB of 1 GiB`. */
  readonly onAmount?: ((amount: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** How long to wait before the second try, milliseconds; doubled before each further one. @default 500 */
  readonly retryMs?: number | undefined
  /** After how long without a byte a connection counts as lost, milliseconds. @default 30000 */
  readonly stallMs?: number | undefined
}

/** How many tries in a row may bring next to nothing. */
const FRUITLESS_TRIES = 5
/** What a try has to bring to count. */
const FRUITFUL_BYTES = 1024 ** 2
/** Statuses that another try may change (RFC 9110; 429 is of RFC 6585). */
const PASSING_STATUSES = [408, 425, 429, 500, 502, 503, 504]

/**
 * Downloads a file and checks it while it comes. A connection that is lost is gone on from where it was, also by a later
 * process; a file that changes meanwhile is begun anew.
 *
 * @throws {InfrastructureError} IMAGE_FETCH_FAILED when it cannot be had; what has come is kept. NO_SPACE when the disk is
 *   full, or too small for the length that the server reports; nothing is kept.
 * @throws {UsageError} IMAGE_CHECKSUM_WRONG when it is another file than `checksum` says; nothing is kept.
 */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const { url, checksum, path } = options
  const file = await PartialFile.open(path, checksum.algorithm)
  try {
    await fetchRest(file, options)
    if (file.digest() !== checksum.hex && file.pieces > 1) {
      // Pieces that do not belong together: the file has changed between them.
      await file.restart()
      await fetchRest(file, options)
    }
    if (file.digest() !== checksum.hex) throw wrongChecksum(url, checksum, file)
    await file.sync()
  } catch (error) {
    const failure = toDiskError(error, `downloading ${url}`)
    const { code } = failure as VMError
    if (code === 'NO_SPACE' || code === 'IMAGE_CHECKSUM_WRONG') await rm(path, { force: true })
    throw failure
  } finally {
    await file.close()
  }
}

/** A connection that could not be made or was lost: another try may do better. */
class LostConnection extends Error {
  /** How long the server wants to be left alone, milliseconds. */
  readonly waitMs: number

  constructor(message: string, waitMs = 0) {
    super(message)
    this.waitMs = waitMs
  }
}

async function fetchRest(file: PartialFile, options: DownloadOptions): Promise<void> {
  const { url, signal, retryMs = 500 } = options
  for (let fruitless = 0; ; ) {
    const before = file.bytes
    try {
      return await fetchOnce(file, options)
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof LostConnection)) throw error
      fruitless = file.bytes - before >= FRUITFUL_BYTES ? 0 : fruitless + 1
      if (fruitless === FRUITLESS_TRIES) throw fetchFailed(url, error.message, file)
      const waitMs = Math.max(error.waitMs, retryMs * 2 ** Math.max(0, fruitless - 1))
      await sleep(waitMs, undefined, { signal }).catch(() => signal?.throwIfAborted())
    }
  }
}

/** One request: resolves when the file has come to its end. */
async function fetchOnce(file: PartialFile, options: DownloadOptions): Promise<void> {
  const { url, signal, stallMs = 30_000 } = options
  const stall = new AbortController()
  const timer = setTimeout(() => stall.abort(), stallMs)
  const signals = signal === undefined ? [stall.signal] : [signal, stall.signal]
  const lost = (error: unknown): never => {
    throw new LostConnection(stall.signal.aborted ? `no byte for ${stallMs / 1000} s` : describe(error))
  }
  try {
    const headers: Record<string, string> = { 'accept-encoding': 'identity' }
    if (file.bytes > 0) {
      headers.range = `bytes=${file.bytes}-`
      if (file.validator !== undefined) headers['if-range'] = file.validator
    }
    const response = await fetch(url, { headers, signal: AbortSignal.any(signals) }).catch(lost)
    if (response.body === null || !(await takeHeaders(file, response, url))) {
      await response.body?.cancel().catch(() => {})
      return
    }
    const totalBytes = readTotalBytes(response)
    const space = new SpaceWatch(options.path, `downloading ${url}`)
    await space.check(file.bytes, totalBytes)
    const reader = response.body.getReader()
    for (;;) {
      const { done, value } = await reader.read().catch(lost)
      if (done) break
      timer.refresh()
      if (totalBytes !== undefined && file.bytes + value.length > totalBytes) {
        await file.restart()
        throw fetchFailed(url, `more than the ${totalBytes} bytes that the server reports`, file)
      }
      await file.append(value)
      await space.check(file.bytes, totalBytes)
      const total = totalBytes === undefined ? '' : ` of ${formatBytes(totalBytes)}`
      options.onAmount?.(`${formatBytes(file.bytes)}${total}`)
    }
    if (totalBytes !== undefined && file.bytes < totalBytes) lost('the connection was closed')
  } finally {
    clearTimeout(timer)
    stall.abort()
  }
}

/** Makes the file ready for what comes. False when nothing more is to come. */
async function takeHeaders(file: PartialFile, response: Response, url: string): Promise<boolean> {
  const { status, headers } = response
  if (PASSING_STATUSES.includes(status)) {
    throw new LostConnection(`HTTP ${status} ${response.statusText}`, readRetryAfterMs(headers))
  }
  if (status === 416) {
    if (headers.get('content-range') === `bytes */${file.bytes}`) return false
    await file.restart()
    throw new LostConnection('the file is shorter than what has come of it')
  }
  if (status !== 200 && status !== 206) throw fetchFailed(url, `HTTP ${status} ${response.statusText}`, file)
  const encoding = headers.get('content-encoding') ?? 'identity'
  if (encoding !== 'identity') {
    throw fetchFailed(url, `a server that says it has packed the file on the way (${encoding})`, file)
  }
  if (status === 206 && file.bytes === 0)
    throw fetchFailed(url, 'HTTP 206 in answer to a request for the whole file', file)
  const isRest = status === 206 && headers.get('content-range')?.startsWith(`bytes ${file.bytes}-`)
  // A server that knows no ranges, or has another file now, sends the whole.
  if (!isRest && file.bytes > 0) await file.restart()
  if (!isRest && status === 206) throw new LostConnection('another part than was asked for')
  const strong = headers.get('etag')
  file.begin(strong?.startsWith('"') ? strong : (headers.get('last-modified') ?? undefined))
  return true
}

/** How long the whole file is, as far as the server says. */
function readTotalBytes({ status, headers }: Response): number | undefined {
  const text =
    status === 206
      ? headers.get('content-range')?.split('/')[1]
      : (headers.get('content-length') ?? undefined)
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}

/** A server that asks for patience gets it, up to a minute. */
function readRetryAfterMs(headers: Headers): number {
  const seconds = Number(headers.get('retry-after') ?? 0)
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : 0
}

function describe(error: unknown): string {
  if (typeof error === 'string') return error
  const { cause, message } = error as Error
  const { code, message: why } = (cause ?? {}) as NodeJS.ErrnoException
  return [message, code ?? why].filter(Boolean).join(': ')
}

function fetchFailed(url: string, got: string, file: PartialFile): VMError {
  const kept = file.bytes === 0 ? '' : ` What has come (${formatBytes(file.bytes)}) is kept, to go on from.`
  return vmError('IMAGE_FETCH_FAILED', {
    summary: `The image ${url} could not be downloaded.`,
    got,
    hint: `Check that \`curl -IL ${url}\` finds it on this host, then run it again.${kept}`,
  })
}

function wrongChecksum(url: string, { algorithm, hex }: Checksum, file: PartialFile): VMError {
  return vmError('IMAGE_CHECKSUM_WRONG', {
    summary: `The image ${url} is not the file that its checksum says.`,
    expected: `${algorithm} ${hex}`,
    got: `${algorithm} ${file.digest()} of ${file.bytes} bytes (${formatBytes(file.bytes)})`,
    hint: 'Take the checksum from where the image is published: a URL of a `latest` image changes its content, so name a dated one. A download that was cut off or changed on its way has another checksum too.',
  })
}
