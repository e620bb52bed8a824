import { ProgressFile, readBuildStep } from '../cache/build-progress.js'
import { nameEntry } from '../cache/cache.js'
import { describeLockWait } from '../cache/entry-lock.js'
import {
  type ImageCaches,
  imagesDir,
  openStoredImage,
  type StoredImageOptions,
} from '../cache/image-store.js'
import { resolveCacheDir, resolveSharedCacheDir } from '../common/cache-dir.js'
import { logToStderr } from '../common/log.js'
import { createProgress } from '../common/progress.js'
import { type BuildJob, type Report, runJob } from './build-job.js'
import { OtherBuild } from './other-build.js'

export interface StoredOptions {
  /** @default `WITHVM_CACHE`, else `$XDG_CACHE_HOME/withvm`, else `~/.cache/withvm` */
  readonly cacheDir?: string | undefined
  /** Read-only cache that is searched first. @default `WITHVM_SHARED_CACHE` */
  readonly sharedCacheDir?: string | undefined
  readonly signal?: AbortSignal | undefined
  /**
   * If true, a helper process builds or downloads a missing image, and continues when this process
   * or its wait ends. Builds that run functions of their author or guests end with this process.
   * @default false
   */
  readonly detached?: boolean | undefined
  /**
   * Called with each step of a long operation. @default a progress line on stderr after one second
   */
  readonly onProgress?: Report | undefined
}

/**
 * Entry of the cache, and the work that fills it: a job, or a function that runs in this process.
 */
export type StoredEntry = Pick<StoredImageOptions, 'name' | 'origin' | 'inputs' | 'layer'> & {
  /** Called once if another process is building the entry. */
  readonly onWait?: () => void
} & (
    | { readonly job: BuildJob }
    | { readonly build: (dir: string, partial: string, report: Report) => Promise<void> }
  )

/**
 * Opens an entry of the cache, and reports progress while it is built.
 *
 * @throws {UsageError} TEST_TIME_TOO_SHORT when the running test ends before a detached build.
 */
export async function openStored(
  subject: string,
  options: StoredOptions,
  entry: StoredEntry,
): Promise<string> {
  const { signal, onProgress } = options
  const progress = onProgress === undefined ? createProgress(subject) : undefined
  const report: Report = onProgress ?? ((step, amount) => progress?.report(step, amount))
  const caches = readCaches(options)
  const { name, origin, inputs, layer } = entry
  const readStep = () => readBuildStep(imagesDir(caches), nameEntry(name, inputs))
  const other = new OtherBuild(readStep, report)
  let result: string | undefined
  try {
    const dir = await openStoredImage({
      ...caches,
      name,
      origin,
      inputs,
      layer,
      build: (building, partial) => {
        other.stop()
        return whileShown(building, report, (shown) =>
          'job' in entry
            ? runJob(entry.job, { dir: building, partial, report: shown, signal })
            : entry.build(building, partial, shown),
        )
      },
      onWait: (holder) => {
        report(describeLockWait(holder))
        other.follow()
        entry.onWait?.()
      },
      onExcess: (text) => logToStderr(`${text}.`),
      buildElsewhere:
        'job' in entry && options.detached === true
          ? async (missing) => {
              const { buildInHelper } = await import('./build-helper.js')
              const order = { subject, job: entry.job, name, origin, inputs, ...caches }
              await buildInHelper(order, missing, { report, signal, other })
            }
          : undefined,
      signal,
    })
    result = 'done'
    return dir
  } finally {
    other.stop()
    progress?.end(result)
  }
}

/** Returns the caches of this process: from the options, else from the environment. */
export function readCaches({ cacheDir, sharedCacheDir }: StoredOptions = {}): ImageCaches {
  return {
    cacheDir: cacheDir ?? resolveCacheDir(),
    sharedCacheDir: sharedCacheDir ?? resolveSharedCacheDir(),
  }
}

/** Passes on the progress of a build, also to other processes that wait for it. */
async function whileShown(
  building: string,
  report: Report,
  work: (report: Report) => Promise<void>,
): Promise<void> {
  const file = new ProgressFile(building)
  try {
    await work((step, amount) => {
      report(step, amount)
      file.report({ step, amount })
    })
  } finally {
    await file.close()
  }
}
