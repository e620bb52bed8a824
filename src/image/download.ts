import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { combineSignals } from '../common/combine-signals.js'
import { SpaceWatch } from '../common/files/free-space.js'
import { type Checksum, PartialFile } from '../common/files/partial-file.js'
import { toDiskError } from '../common/process/run-tool.js'
import { formatBytes, KIB, MIB } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import { findFetch, listProxySettings } from './proxy-fetch.js'

export interface DownloadOptions {
  readonly url: string
  readonly checksum: Checksum
  /** File to write. A partial download in it is continued. */
  readonly path: string
  /** Called with the progress, for example `120 MiB of 1 GiB (11 %)`. */
  readonly onAmount?: ((amount: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /**
   * Delay before the second attempt, in milliseconds; doubled before each further one. @default 500
   */
  readonly retryMs?: number | undefined
  /**
   * Time in which a connection that brings less than 64 KiB counts as lost, in milliseconds.
   * @default 30000
   */
  readonly stallMs?: number | undefined
}

/** Maximum number of successive attempts without progress. */
const MAX_ATTEMPTS_WITHOUT_PROGRESS = 5
/** Number of bytes of an attempt that count as progress. */
const PROGRESS_BYTES = MIB
/**
 * Minimum number of bytes in `stallMs`. A server that sends single bytes would keep a download from
 * ending.
 */
const STALL_BYTES = 64 * KIB
/** Statuses that may be temporary (RFC 9110; 429: RFC 6585). */
const TEMPORARY_STATUSES = [408, 425, 429, 500, 502, 503, 504]

/**
 * Downloads a file and verifies its checksum. A lost connection is continued at the last byte, also
 * by a later process. A file that changes during the download is downloaded again from the start.
 *
 * @throws {InfrastructureError} IMAGE_FETCH_FAILED when the download fails; the received part is
 *   kept. NO_SPACE when the disk is full or too small for the reported length; nothing is kept.
 * @throws {UsageError} IMAGE_CHECKSUM_WRONG when the checksum does not match; nothing is kept.
 */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const { url, checksum, path } = options
  const file = await PartialFile.open(path, checksum.algorithm)
  try {
    await fetchRest(file, options)
    if (file.digest() !== checksum.hex && file.pieces > 1) {
      // The pieces do not belong together: the file changed between them.
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

/** A connection failed or was lost: a retry may succeed. */
class LostConnection extends Error {
  /** Delay requested by the server, in milliseconds. */
  readonly waitMs: number

  constructor(message: string, waitMs = 0) {
    super(message)
    this.waitMs = waitMs
  }
}

async function fetchRest(file: PartialFile, options: DownloadOptions): Promise<void> {
  const { url, signal, retryMs = 500 } = options
  for (let attemptsWithoutProgress = 0; ; ) {
    const before = file.bytes
    try {
      return await fetchOnce(file, options)
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof LostConnection)) throw error
      attemptsWithoutProgress = file.bytes - before >= PROGRESS_BYTES ? 0 : attemptsWithoutProgress + 1
      if (attemptsWithoutProgress === MAX_ATTEMPTS_WITHOUT_PROGRESS)
        throw fetchError(url, error.message, file)
      const waitMs = Math.max(error.waitMs, retryMs * 2 ** Math.max(0, attemptsWithoutProgress - 1))
      await sleep(waitMs, undefined, { signal }).catch(() => signal?.throwIfAborted())
    }
  }
}

/** Sends one request; resolves at the end of the file. */
async function fetchOnce(file: PartialFile, options: DownloadOptions): Promise<void> {
  const { url, signal, stallMs = 30_000 } = options
  const stall = new AbortController()
  const timer = setTimeout(() => stall.abort(), stallMs)
  const lost = (error: unknown): never => {
    throw new LostConnection(stall.signal.aborted ? tooSlow(stallMs) : describeCause(error))
  }
  try {
    const headers: Record<string, string> = { 'accept-encoding': 'identity' }
    if (file.bytes > 0) {
      headers.range = `bytes=${file.bytes}-`
      if (file.validator !== undefined) headers['if-range'] = file.validator
    }
    const fetchUrl = await findFetch()
    const response = await fetchUrl(url, { headers, signal: combineSignals(signal, stall.signal) }).catch(
      lost,
    )
    const isWhole = !(await takeHeaders(file, response, url))
    if (isWhole || response.body === null) {
      await response.body?.cancel().catch(() => {})
      return
    }
    const totalBytes = readTotalBytes(response)
    const space = new SpaceWatch(options.path, `downloading ${url}`)
    await space.check(file.bytes, totalBytes)
    const reader = response.body.getReader()
    timer.refresh()
    for (let startBytes = file.bytes; ; ) {
      const { done, value } = await reader.read().catch(lost)
      if (done) break
      if (totalBytes !== undefined && file.bytes + value.length > totalBytes) {
        await file.restart()
        throw fetchError(url, `more than the ${totalBytes} bytes that the server reports`, file)
      }
      await file.append(value)
      if (file.bytes - startBytes >= STALL_BYTES) {
        startBytes = file.bytes
        timer.refresh()
      }
      await space.check(file.bytes, totalBytes)
      options.onAmount?.(describeAmount(file.bytes, totalBytes))
    }
    if (totalBytes !== undefined && file.bytes < totalBytes) lost('the connection was closed')
  } finally {
    clearTimeout(timer)
    stall.abort()
  }
}

function describeAmount(bytes: number, totalBytes: number | undefined): string {
  if (totalBytes === undefined || totalBytes === 0) return formatBytes(bytes)
  const percent = Math.floor((bytes / totalBytes) * 100)
  return `${formatBytes(bytes)} of ${formatBytes(totalBytes)} (${percent} %)`
}

/** Prepares the file for the response. Returns false if the file is already complete. */
async function takeHeaders(file: PartialFile, response: Response, url: string): Promise<boolean> {
  const { status, headers } = response
  if (TEMPORARY_STATUSES.includes(status)) {
    throw new LostConnection(`HTTP ${status} ${response.statusText}`, readRetryAfterMs(headers))
  }
  if (status === 416) {
    if (headers.get('content-range') === `bytes */${file.bytes}`) return false
    await file.restart()
    throw new LostConnection('the file is now shorter than the received part')
  }
  if (status !== 200 && status !== 206) throw fetchError(url, `HTTP ${status} ${response.statusText}`, file)
  const encoding = headers.get('content-encoding') ?? 'identity'
  if (encoding !== 'identity') {
    throw fetchError(url, `a response with Content-Encoding ${encoding}`, file)
  }
  if (status === 206 && file.bytes === 0)
    throw fetchError(url, 'HTTP 206 for a request of the whole file', file)
  const isRest = status === 206 && headers.get('content-range')?.startsWith(`bytes ${file.bytes}-`)
  // A server that does not support ranges, or has a new file, sends the whole file.
  if (!isRest && file.bytes > 0) await file.restart()
  if (!isRest && status === 206) throw new LostConnection('a different range than requested')
  const etag = headers.get('etag')
  file.begin(etag?.startsWith('"') ? etag : (headers.get('last-modified') ?? undefined))
  return true
}

/** Returns the size of the whole file, if the server reports it. */
function readTotalBytes({ status, headers }: Response): number | undefined {
  const text =
    status === 206
      ? headers.get('content-range')?.split('/')[1]
      : (headers.get('content-length') ?? undefined)
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}

/** Returns the delay of a Retry-After header, at most a minute. */
function readRetryAfterMs(headers: Headers): number {
  const seconds = Number(headers.get('retry-after') ?? 0)
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : 0
}

function tooSlow(stallMs: number): string {
  return `less than ${formatBytes(STALL_BYTES)} in ${stallMs / 1000} s`
}

function describeCause(error: unknown): string {
  if (typeof error === 'string') return error
  const { message } = error as Error
  let cause = (error as Error).cause as NodeJS.ErrnoException | undefined
  while (cause?.cause !== undefined) cause = cause.cause as NodeJS.ErrnoException
  // The message of an aborted request is more specific than its code: a proxy refused the tunnel.
  const isAborted = cause?.code === 'UND_ERR_ABORTED'
  return [message, isAborted ? cause?.message : (cause?.code ?? cause?.message)].filter(Boolean).join(': ')
}

function fetchError(url: string, got: string, file: PartialFile): VMError {
  const kept =
    file.bytes === 0
      ? ''
      : ` The partial download (${formatBytes(file.bytes)}) is kept, and the next attempt resumes it.`
  const proxies = listProxySettings()
  return vmError('IMAGE_FETCH_FAILED', {
    summary: `The image ${url} could not be downloaded.`,
    got: proxies === '' ? got : `${got} (proxy settings: ${proxies})`,
    hint: `Check that \`curl -IL ${url}\` succeeds on this host, then retry.${kept}`,
  })
}

function wrongChecksum(url: string, { algorithm, hex }: Checksum, file: PartialFile): VMError {
  return vmError('IMAGE_CHECKSUM_WRONG', {
    summary: `The image ${url} does not match its checksum.`,
    expected: `${algorithm} ${hex}`,
    got: `${algorithm} ${file.digest()} of ${file.bytes} bytes (${formatBytes(file.bytes)})`,
    hint: 'Copy the checksum from the publisher of the image, and use a URL with a date or version: the content of a `latest` URL changes. A truncated or modified download has another checksum too.',
  })
}
