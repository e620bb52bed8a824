import type { RecipePlan } from '../../images/recipe.js'
import { recipeOf } from '../../images/recipes.js'
import type { Checksum } from '../common/files/partial-file.js'
import type { GuestArch } from '../spec/architectures.js'
import type { DiskFormat } from '../spec/base-image.js'
import { downloadFile } from './download.js'
import { importFile } from './import-file.js'

/**
 * Work that fills an entry of the cache, as plain data: it can be done by another process.
 * Functions of the author cannot.
 */
export type BuildJob =
  | { readonly kind: 'recipe'; readonly recipe: RecipePlan; readonly arch: GuestArch }
  | {
      readonly kind: 'download'
      readonly url: string
      readonly checksum: Checksum
      readonly format: DiskFormat | undefined
    }
  | {
      readonly kind: 'unpack'
      readonly path: string
      /** Name of the file in messages. */
      readonly name: string
      readonly format: DiskFormat | undefined
    }

/** Receives the current step of a build, and its progress, for example `12 of 45 MiB`. */
export type Report = (step: string, amount?: string) => void

export interface JobContext {
  /** Folder of the entry. */
  readonly dir: string
  /** File for a download, which is kept if it is not finished. */
  readonly partial: string
  readonly report: Report
  readonly signal: AbortSignal | undefined
}

/**
 * Does the work.
 *
 * @throws {UsageError} IMAGE_CHECKSUM_WRONG, IMAGE_INVALID.
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED, IMAGE_FETCH_FAILED, NO_SPACE, TOOL_NOT_FOUND.
 */
export async function runJob(job: BuildJob, { dir, partial, report, signal }: JobContext): Promise<void> {
  if (job.kind === 'recipe') return recipeOf(job.recipe).build({ dir, arch: job.arch, report, signal })
  const { format } = job
  if (job.kind === 'unpack') {
    const { path, name } = job
    return importFile({ path, name, dir, format, isTemporary: false, report, signal })
  }
  const { url, checksum } = job
  report('downloading')
  const onAmount = (amount: string) => report('downloading', amount)
  await downloadFile({ url, checksum, path: partial, onAmount, signal })
  await importFile({ path: partial, name: url, dir, format, isTemporary: true, report, signal })
}

/** Order to a helper process: an entry of the cache, and the work that fills it. */
export interface BuildOrder {
  /** Subject of progress messages. */
  readonly subject: string
  readonly job: BuildJob
  readonly name: string
  readonly origin: string
  readonly inputs: unknown
  readonly cacheDir: string
  readonly sharedCacheDir: string | undefined
  /**
   * Time for which the build continues after the process that ordered it has ended or waits no
   * longer, in milliseconds.
   */
  readonly aloneMs: number
}

/** Key of binary data in JSON. */
const BYTES = '$base64'

/** Encodes an order in one line. */
export function encodeOrder(order: BuildOrder): string {
  return JSON.stringify(order, function (this: Record<string, unknown>, key, value: unknown) {
    // `value` is already converted by `Buffer.toJSON()`.
    const raw = this[key]
    return raw instanceof Uint8Array ? { [BYTES]: Buffer.from(raw).toString('base64') } : value
  })
}

/** Decodes the line of {@link encodeOrder}. */
export function decodeOrder(line: string): BuildOrder {
  return JSON.parse(line, (_, value: unknown) => {
    const bytes = (value as { [BYTES]?: unknown } | null)?.[BYTES]
    return typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : value
  }) as BuildOrder
}
