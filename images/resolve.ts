import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { resolveCacheDir } from '../src/common/cache-dir.js'
import { nearestName } from '../src/common/nearest-name.js'
import { type VMError, vmError } from '../src/errors.js'
import { openCacheEntry, readEntryIdentity } from '../src/image/cache.js'
import { probeDiskFile } from '../src/image/disk-file.js'
import { createProgress } from '../src/image/progress.js'
import type { BaseImage, DiskFormat } from '../src/spec/base-image.js'
import type { Recipe } from './recipe.js'
import { RECIPES } from './recipes.js'

/** A recipe's name, or the path of a disk image, whose format can be said. */
export type ImageSource = string | { readonly path: string; readonly format?: DiskFormat | undefined }

export interface ResolveImageOptions {
  /** @default `WITHVM_CACHE`, else `$XDG_CACHE_HOME/withvm`, else `~/.cache/withvm` */
  readonly cacheDir?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Called with each step of a build. @default a progress line on stderr, if it takes more than a second */
  readonly onProgress?: ((step: string) => void) | undefined
}

const GIB = 1024 ** 3

/**
 * Gives an image that lies ready on this host's disk: a recipe's, built if it is not in the cache, or the
 * file at a path, examined. A name is a recipe's if there is one, else a path.
 *
 * @throws {UsageError} IMAGE_NOT_FOUND when there is neither; IMAGE_INVALID when the file is no whole disk image.
 * @throws {InfrastructureError} IMAGE_LOCKED, IMAGE_BUILD_FAILED, NO_SPACE, TOOL_NOT_FOUND.
 */
export async function resolveImage(
  source: ImageSource,
  options: ResolveImageOptions = {},
): Promise<BaseImage> {
  options.signal?.throwIfAborted()
  if (typeof source !== 'string') return openDisk(source, options.signal)
  const recipe = Object.hasOwn(RECIPES, source) ? RECIPES[source] : undefined
  if (recipe !== undefined) return openRecipe(recipe, options)
  return openDisk({ path: source }, options.signal, Object.keys(RECIPES))
}

async function openRecipe(recipe: Recipe, options: ResolveImageOptions): Promise<BaseImage> {
  const { signal, onProgress } = options
  const { name } = recipe
  const progress = onProgress === undefined ? createProgress(`building the image ${name}`) : undefined
  const report = onProgress ?? ((step: string) => progress?.report(step))
  let result: string | undefined
  try {
    const dir = await openCacheEntry({
      cacheDir: options.cacheDir ?? resolveCacheDir(),
      name,
      inputs: await recipe.readInputs(),
      build: (buildDir) => recipe.build({ dir: buildDir, signal, report }),
      onWait: () => report('waiting for another process that builds it'),
      signal,
    })
    result = 'done'
    return { ...(await recipe.open(dir)), identity: await readEntryIdentity(dir) }
  } finally {
    progress?.end(result)
  }
}

async function openDisk(
  source: { readonly path: string; readonly format?: DiskFormat | undefined },
  signal: AbortSignal | undefined,
  recipes: readonly string[] = [],
): Promise<BaseImage> {
  const path = resolve(source.path)
  const problem = await stat(path).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error,
  )
  if (problem !== undefined) throw notFound(source.path, path, recipes, problem)
  const format = await probeDiskFile({ path, format: source.format, signal })
  return {
    name: source.path,
    disk: { path, format },
    // What is in it is unknown. One of systemd's guests takes its keys from SMBIOS; others do not mind.
    traits: {
      sshUser: 'root',
      credentials: 'smbios',
      hasAgent: false,
      hasResident: false,
      startEffort: 1,
    },
    defaults: { memoryBytes: GIB, cpus: 1 },
  }
}

function notFound(
  name: string,
  path: string,
  recipes: readonly string[],
  cause: NodeJS.ErrnoException,
): VMError {
  const isName = recipes.length > 0 && !name.includes('/')
  const near = nearestName(name, recipes)
  const got = cause.code === 'ENOENT' ? `nothing at ${path}` : `${cause.code ?? cause.message} at ${path}`
  const hints = [
    ...(near === undefined ? [] : [`Did you mean '${near}'?`]),
    isName
      ? `Give one of the images that have a name (${recipes.join(', ')}) or the path of a disk image.`
      : 'Check the path; a relative one starts at the working directory.',
  ]
  return vmError('IMAGE_NOT_FOUND', {
    summary: `There is no image ${name}.`,
    expected: isName ? `the name of an image (${recipes.join(', ')}) or the path of a file` : 'a file',
    got,
    hint: hints.join(' '),
    cause,
  })
}
