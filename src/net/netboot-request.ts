/** One file that a guest asked for while it booted from the network. */
export interface NetbootRequest {
  readonly protocol: 'tftp' | 'http'
  /** The path as the guest wrote it. */
  readonly path: string
  /**
   * `complete`: it has the whole file. `not found`: there is none. `failed`: the server refused, or broke off. `aborted`: the
   * guest gave up, as loaders do that only want to know a file's size. `pending`: it is under way.
   */
  readonly status: 'pending' | 'complete' | 'not found' | 'failed' | 'aborted'
  /** The status of HTTP, or the code of an error of TFTP. */
  readonly code: number | undefined
  /** How much of the file was sent. */
  readonly bytes: number
  /** How much a block of TFTP has; undefined for HTTP. */
  readonly blksize: number | undefined
  readonly startedAt: Date
  /** Undefined while it is under way. Of TFTP by the guest's clock. */
  readonly durationMs: number | undefined
}

/** A path without what loaders write in front of it: `/pxelinux.0`, `./pxelinux.0` and `//pxelinux.0` are one file. */
export function normalisePath(path: string): string {
  return path
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')
}
