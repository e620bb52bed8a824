import { GIB, MIB } from '../../common/units.js'
import { vmError } from '../../errors.js'

/** Limits of a download, because the guest controls the data that it sends. */
export interface DownloadLimits {
  /**
   * Maximum total size of all files, in bytes. Files that report a larger size are not copied.
   * @default 16 GiB
   */
  readonly maxBytes?: number | undefined
  /** Maximum number of files, folders and links. @default 100000 */
  readonly maxFiles?: number | undefined
}

/** Options of `vm.upload()`. */
export interface TransferOptions {
  readonly signal?: AbortSignal | undefined
}

/** Options of `vm.download()`. */
export interface DownloadOptions extends TransferOptions, DownloadLimits {}

const DEFAULT_MAX_BYTES = 16 * GIB
const DEFAULT_MAX_FILES = 100_000
/** Longest path in Linux (PATH_MAX of limits.h). A real file system has no deeper tree. */
const MAX_PATH_CHARS = 4096
/**
 * Maximum total length of the paths in memory while a folder is copied, regardless of `maxFiles`.
 */
const MAX_NAME_CHARS = 64 * MIB

/** Counts the files and bytes of one copy against its limits. */
export class TransferBudget {
  readonly #maxBytes: number
  readonly #maxFiles: number
  #bytes = 0
  #announced = 0
  #files = 0
  #nameChars = 0

  /** Without `limits`, nothing is limited: used for uploads. */
  constructor(limits?: DownloadLimits) {
    this.#maxBytes = checkLimit('maxBytes', limits, DEFAULT_MAX_BYTES)
    this.#maxFiles = checkLimit('maxFiles', limits, DEFAULT_MAX_FILES)
  }

  /** Counts a file, folder or link before it is copied. Throws if a limit is exceeded. */
  addItem(path: string, announcedBytes: number): void {
    this.#files++
    this.#nameChars += path.length
    this.#announced += announcedBytes
    if (this.#files > this.#maxFiles) throw limitExceeded(`more than ${this.#maxFiles} files`, 'maxFiles')
    if (path.length > MAX_PATH_CHARS && Number.isFinite(this.#maxFiles))
      throw limitExceeded(`a path of ${path.length} characters`)
    if (this.#nameChars > MAX_NAME_CHARS && Number.isFinite(this.#maxFiles))
      throw limitExceeded(`paths of more than ${MAX_NAME_CHARS} characters in total`)
    if (this.#announced > this.#maxBytes) throw limitExceeded(`${this.#announced} bytes`, 'maxBytes')
  }

  /**
   * Counts bytes read from a file, which may be longer than reported. Throws if the limit is
   * exceeded.
   */
  addBytes(count: number): void {
    this.#bytes += count
    if (this.#bytes > this.#maxBytes) throw limitExceeded(`more than ${this.#maxBytes} bytes`, 'maxBytes')
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
    summary: `The option \`${name}\` of a download is invalid.`,
    expected: 'a number greater than 0',
    got: String(limit),
    hint: `Correct the option \`${name}\`.`,
  })
}

function limitExceeded(got: string, option?: keyof DownloadLimits): Error {
  const hint =
    option === undefined
      ? 'Check that path in the guest: no real file system has such a path.'
      : `Download less, or raise \`${option}\`.`
  return Object.assign(new Error(got), { code: 'TOO_MUCH', hint })
}
