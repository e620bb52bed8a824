import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { debian } from '../../images/debian/recipe.js'
import type { GuestFile, Recipe } from '../../images/recipe.js'
import { hashInputs } from '../cache/cache.js'
import { digestFile } from '../cache/file-digest.js'
import { openDisk } from '../disk/backing-chain.js'
import { vmError } from '../errors.js'
import type { BaseImage } from '../spec/base-image.js'
import { DEBIAN } from '../spec/define-image.js'
import type { ImageDefinition, ImageFile, ImageOptions } from '../spec/image-definition.js'
import { type Preparation, PreparedSource } from '../spec/image-definition.js'
import type { ImageSource } from '../spec/image-source.js'
import { describeFunction, ownRecipe } from './own-recipe.js'

/** Increase when the work in the guest of a layer, or the way its disk is kept, changes. */
const REVISION = 1
const LAYER_DISK = 'disk.qcow2'

/** Work that runs in a guest, whose disk is kept as a layer on top of the base image. */
export interface GuestWork {
  readonly name: string
  /** Preparations of the prepared image that this one is made from. They run first. */
  readonly steps: readonly Preparation[]
  readonly files: Readonly<Record<string, GuestFile>>
  readonly run: readonly string[]
  /** Runs last. */
  readonly prepare: Preparation | undefined
  readonly guest: ImageOptions['guest']
}

/**
 * Starts a guest of `base`, runs the work, powers the guest off, and leaves its overlay at `to`.
 */
export type MakeLayer = (
  work: GuestWork,
  options: {
    readonly base: BaseImage
    readonly to: string
    readonly report: (step: string) => void
    readonly signal: AbortSignal | undefined
  },
) => Promise<void>

/** Plan for building a defined image. */
export interface DefinitionPlan {
  /** Base: a recipe, or an image source. */
  readonly base: Recipe | ImageSource | ImageDefinition
  /** Undefined if no work needs a guest. */
  readonly work: GuestWork | undefined
}

/** Decides which work is done while the image is built, and which in a guest of it. */
export async function planDefinition({ options }: ImageDefinition): Promise<DefinitionPlan> {
  const { name, build, prepare, dependsOn, guest, from = DEBIAN } = options
  const files = await readFiles(name, options.files ?? {})
  const last = prepare && { ...dependsOn, run: prepare }
  const plan = (base: DefinitionPlan['base'], work: Pick<GuestWork, 'files' | 'run' | 'steps'>) => {
    const count = Object.keys(work.files).length + work.run.length + work.steps.length
    const isNothing = count === 0 && last === undefined
    return { base, work: isNothing ? undefined : { name, guest, prepare: last, ...work } }
  }
  const run = options.run ?? []
  if (build !== undefined) return plan(ownRecipe(name, build, dependsOn), { files, run, steps: [] })
  if (from === DEBIAN) {
    const { suite, packages = [] } = options
    const isPlain = suite === undefined && packages.length + run.length + Object.keys(files).length === 0
    const base = isPlain ? DEBIAN : debian(name, { suite, packages, files, run })
    return plan(base, { files: {}, run: [], steps: [] })
  }
  if (from instanceof PreparedSource) {
    return plan(from.source, { files, run, steps: from.steps })
  }
  return plan(from, { files, run, steps: [] })
}

/** Returns everything that the disk of a layer depends on. */
export async function describeWork(work: GuestWork, base: BaseImage, imagesDir: string): Promise<unknown> {
  return {
    revision: REVISION,
    base: await fingerprintOf(work.name, base, imagesDir),
    // The layer refers to that file: it is unusable after the cache was moved, and may be wrong
    // after it was copied.
    basePath: base.disk?.path,
    steps: await Promise.all(work.steps.map((step) => describeFunction(step.run, step))),
    files: Object.entries(work.files).map(([path, { content, mode }]) => [
      path,
      mode,
      hashInputs(Buffer.from(content).toString('base64')),
    ]),
    run: work.run,
    prepare: work.prepare && (await describeFunction(work.prepare.run, work.prepare)),
    guest: work.guest,
  }
}

/** Returns the path of the layer in a cache entry. */
export function layerPath(dir: string): string {
  return join(dir, LAYER_DISK)
}

/** Returns the image with the layer as its disk. */
export function describeLayered(base: BaseImage, name: string, dir: string): BaseImage {
  return { ...base, name, disk: { path: layerPath(dir), format: 'qcow2' } }
}

/**
 * Returns the fingerprint of a base image. That of an image at a path is the digest of its file and
 * backing files.
 */
async function fingerprintOf(
  name: string,
  { fingerprint, disk }: BaseImage,
  imagesDir: string,
): Promise<unknown> {
  if (disk?.encryption !== undefined) {
    throw vmError('IMAGE_INVALID', {
      summary: `The image ${name} has an encrypted base image: changes made in a guest would be stored unencrypted.`,
      expected: 'an unencrypted base image',
      got: disk.path,
      hint: 'Prepare each guest instead: `image(…).prepare(…)`.',
    })
  }
  if (fingerprint !== undefined || disk === undefined) return fingerprint
  const { chain } = await openDisk({ ...disk, backingFolders: ['/'] })
  return Promise.all(chain.map(({ path }) => digestFile(path, imagesDir)))
}

async function readFiles(
  name: string,
  files: Readonly<Record<string, ImageFile>>,
): Promise<Readonly<Record<string, GuestFile>>> {
  const read = Object.entries(files).map(async ([path, file]) => [
    path,
    await readImageFile(name, path, file),
  ])
  return Object.fromEntries(await Promise.all(read))
}

const DEFAULT_MODE = 0o644

async function readImageFile(name: string, path: string, file: ImageFile): Promise<GuestFile> {
  if (typeof file === 'string' || file instanceof Uint8Array) return { content: file, mode: DEFAULT_MODE }
  if ('content' in file) return { content: file.content, mode: file.mode ?? DEFAULT_MODE }
  try {
    const mode = file.mode ?? (await stat(file.path)).mode & 0o777
    return { content: await readFile(file.path), mode }
  } catch (error) {
    throw vmError('INVALID_OPTIONS', {
      summary: `defineImage(): the host file for ${path} of the image ${name} cannot be read.`,
      expected: 'a readable file',
      got: (error as Error).message,
      hint: 'Check the path; relative paths start at the working directory.',
      cause: error,
    })
  }
}
