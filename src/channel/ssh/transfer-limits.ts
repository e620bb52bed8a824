import { vmError } from '../../errors.js'

/** How much a download may bring: the guest decides what it sends, not the author. */
export interface DownloadLimits {
  /** The most bytes of all files together; one that says that it is larger is refused before it is copied. @default 16 GiB */
  readonly maxBytes?: number | undefined
  /** The most files, folders and links. @default 100000 */
  readonly maxFiles?: number | undefined
}

const DEFAULT_MAX_BYTES = 16 * 1024 ** 3
const DEFAULT_MAX_FILES = 100_000
/** No path is longer in Linux (PATH_MAX of limits.h): a tree that is deeper is made up. */
const LONGEST_PATH = 4096
/** Names as many as this are held while a folder is copied, whatever `maxFiles` says. */
const MAX_NAME_CHARS = 64 * 1024 ** 2

/** What of one copy has been seen so far, and what of it is too much. */
export class TransferBudget {
  readonly #maxBytes: number
  readonly #maxFiles: number
  #bytes = 0
  #announced = 0
  #files = 0
  #nameChars = 0

  /** Without limits all is let through, as where this host's own files are copied. */
  constructor(limits?: DownloadLimits) {
    this.#maxBytes = checkLimit('maxBytes', limits, DEFAULT_MAX_BYTES)
    this.#maxFiles = checkLimit('maxFiles', limits, DEFAULT_MAX_FILES)
  }

  /** Counts a file, a folder or a link that is to be copied. */
  addItem(path: string, announcedBytes: number): void {
    this.#files++
    this.#nameChars += path.length
    this.#announced += announcedBytes
    if (this.#files > this.#maxFiles) throw tooMuch(`more than ${this.#maxFiles} files`, 'maxFiles')
    if (path.length > LONGEST_PATH && Number.isFinite(this.#maxFiles))
      throw tooMuch(`a path of ${path.length} characters`)
    if (this.#nameChars > MAX_NAME_CHARS && Number.isFinite(this.#maxFiles))
      throw tooMuch(`names of more than ${MAX_NAME_CHARS} characters in all`)
    if (this.#announced > this.#maxBytes) throw tooMuch(`${this.#announced} bytes`, 'maxBytes')
  }

  /** Counts what has been read of a file: one may go on behind the size that it had. */
  addBytes(count: number): void {
    this.#bytes += count
    if (this.#bytes > this.#maxBytes) throw tooMuch(`more than ${this.#maxBytes} bytes`, 'maxBytes')
  }
}

function checkLimit(
  name: keyof DownloadLimits,
  limits: DownloadLimits | undefined,
  byDefault: number,
): number {
  if (limits === undefined) return Number.POSITIVE_INFINITY
  const limit = limits[name] ?? byDefault
  if (typeof limit === 'number' && limit > 0) return limit
  throw vmError('INVALID_OPTIONS', {
    summary: `a download got a ${name} that cannot be used`,
    expected: 'a number above 0',
    got: String(limit),
    hint: `Correct the option \`${name}\`.`,
  })
}

function tooMuch(got: string, option?: keyof DownloadLimits): Error {
  const hint =
    option === undefined
      ? 'See what is at that path in the guest: no file system has such a path.'
      : `Download less, or raise \`${option}\` if the guest is meant to have so much.`
  return Object.assign(new Error(got), { code: 'TOO_MUCH', hint })
}
