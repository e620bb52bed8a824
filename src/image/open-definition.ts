import { basename } from 'node:path'
import { hashInputs, readEntryFingerprint } from '../cache/cache.js'
import { imagesDir } from '../cache/image-store.js'
import { createProgress, type Progress } from '../common/progress.js'
import { VMError } from '../errors.js'
import type { GuestArch } from '../spec/architectures.js'
import type { BaseImage } from '../spec/base-image.js'
import type { ImageDefinition } from '../spec/image-definition.js'
import type { ImageSource } from '../spec/image-source.js'
import type { Report } from './build-job.js'
import {
  type DefinitionBase,
  describeLayered,
  describeWork,
  findBase,
  type LayerBuilder,
  type LayerWork,
  layerPath,
  planLayers,
  type StartLayers,
} from './defined-image.js'
import { openRecipe } from './open-recipe.js'
import { openStored, readCaches, type StoredOptions } from './stored-image.js'

interface DefinitionOptions extends StoredOptions {
  readonly arch?: GuestArch | undefined
  readonly startLayers?: StartLayers | undefined
}

type Resolve = (source: ImageSource | ImageDefinition, options: DefinitionOptions) => Promise<BaseImage>

/**
 * Opens a defined image. Each of its layers is an entry of the cache on top of the one below, and
 * is built only if it or a layer below has changed.
 *
 * @param resolve opens the base image
 */
export async function openDefinition(
  definition: ImageDefinition,
  options: DefinitionOptions,
  resolve: Resolve,
): Promise<BaseImage> {
  const { name } = definition.options
  let progress: Progress | undefined
  const report: Report =
    options.onProgress ??
    ((step, amount) => {
      progress ??= createProgress(`building the image ${name}`)
      progress.report(step, amount)
    })
  let result: string | undefined
  try {
    const image = await openLayers(definition, { ...options, onProgress: report }, resolve)
    result = 'done'
    return image
  } finally {
    progress?.end(result)
  }
}

type LayerOptions = DefinitionOptions & { readonly onProgress: Report }

async function openLayers(
  definition: ImageDefinition,
  options: LayerOptions,
  resolve: Resolve,
): Promise<BaseImage> {
  const { name } = definition.options
  const { arch, signal, startLayers } = options
  const base = findBase(definition)
  // The layers on Debian are known before it is built, and their files are checked first.
  const planned = base.isDebian ? await planLayers(definition, base, {}) : undefined
  const count = { before: base.isDebian ? 1 : 0, layers: planned?.length ?? 0 }
  const title = (index: number, label: string) =>
    `layer ${index + 1} of ${count.before + count.layers} (${label})`
  const prefix = !base.isDebian ? 'base image: ' : planned?.length === 0 ? '' : `${title(0, 'packages')}: `
  let image = await openBase(base, { ...options, ...prefixed(options, prefix) }, resolve)
  const layers = planned ?? (await planLayers(definition, base, image.root))
  count.layers = layers.length
  if (layers.length === 0) return { ...image, name }
  if (startLayers === undefined) throw new TypeError('This image has layers, and `startLayers` is not set.')
  const builder = startLayers({ arch, layers, signal })
  try {
    for (const [index, work] of layers.entries()) {
      const layer = title(count.before + index, work.label)
      const own = { ...options, ...prefixed(options, `${layer}: `) }
      image = await openLayer(work, image, builder, own).catch((error: unknown) => {
        throw error instanceof VMError ? addLayer(error, layer, work) : error
      })
    }
  } finally {
    await builder.release()
  }
  return image
}

function prefixed({ onProgress }: LayerOptions, prefix: string): Pick<LayerOptions, 'onProgress'> {
  return { onProgress: (step, amount) => onProgress(`${prefix}${step}`, amount) }
}

function addLayer(error: VMError, layer: string, { name, content }: LayerWork): VMError {
  const text = `${layer} of ${name}: ${content}`
  return error.withEvidence([{ label: 'Image layer', text }])
}

async function openBase(
  { source, isDebian, content }: DefinitionBase,
  options: LayerOptions,
  resolve: Resolve,
): Promise<BaseImage> {
  let isBuilt = false
  const own: LayerOptions = {
    ...options,
    onProgress: (step, amount) => {
      isBuilt = true
      options.onProgress(step, amount)
    },
  }
  const isRecipe = typeof source === 'object' && 'readInputs' in source
  const image = isRecipe ? await openRecipe(source, own, content) : await resolve(source, own)
  if (isDebian && !isBuilt) options.onProgress('cached')
  return image
}

async function openLayer(
  work: LayerWork,
  base: BaseImage,
  builder: LayerBuilder,
  options: LayerOptions,
): Promise<BaseImage> {
  const { name, content } = work
  if (base.disk === undefined) throw new TypeError('An image without a disk cannot have a layer.')
  let isCached = true
  let released: Promise<void> | undefined
  const dir = await openStored(`building the image ${name}`, options, {
    name,
    origin: name,
    layer: { image: name, content, below: base.disk.path },
    inputs: await describeWork(work, base, imagesDir(readCaches(options))),
    build: (building, _partial, report) => {
      isCached = false
      return builder.build(work, { base, to: layerPath(building), report: (step) => report(step) })
    },
    // The other builder may need the memory of the helper guest.
    onWait: () => {
      isCached = false
      released = builder.release()
      released.catch(() => {}) // awaited below
    },
  })
  await released
  if (isCached) options.onProgress('cached')
  // The name of the entry contains a digest of the layers below, and its files only the changes.
  const fingerprint = hashInputs([basename(dir), await readEntryFingerprint(dir)])
  return { ...describeLayered(base, name, dir), fingerprint }
}
