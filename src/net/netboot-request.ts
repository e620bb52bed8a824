/** File request of a guest during network boot. */
export interface NetbootRequest {
  /** Protocol of the request. */
  readonly protocol: 'tftp' | 'http'
  /** Path as sent by the guest. */
  readonly path: string
  /**
   * Status of the transfer:
   * - `pending`: in progress
   * - `complete`: the complete file was sent
   * - `not found`: the file does not exist
   * - `failed`: the server refused the request or ended the transfer early
   * - `aborted`: the guest ended the transfer, as loaders do that only query the size of a file
   */
  readonly status: 'pending' | 'complete' | 'not found' | 'failed' | 'aborted'
  /** HTTP status code, or TFTP error code. */
  readonly code: number | undefined
  /** Number of bytes sent. */
  readonly bytes: number
  /** Block size of TFTP; undefined for HTTP. */
  readonly blksize: number | undefined
  /** Time of the request. */
  readonly startedAt: Date
  /** Duration, for TFTP by the guest's clock. Undefined while the transfer is pending. */
  readonly durationMs: number | undefined
}

/**
 * Normalizes a requested path: `/pxelinux.0`, `./pxelinux.0` and `//pxelinux.0` are the same file.
 */
export function normalizePath(path: string): string {
  return path
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')
}
