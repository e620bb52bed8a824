import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { debian } from '../../images/debian/recipe.js'
import type { GuestFile, Recipe } from '../../images/recipe.js'
import { packTar } from '../archive/tar-writer.js'
import { hashInputs } from '../cache/cache.js'
import { digestFile } from '../cache/file-digest.js'
import { openDisk } from '../disk/backing-chain.js'
import { vmError } from '../errors.js'
import type { GuestArch } from '../spec/architectures.js'
import type { BaseImage } from '../spec/base-image.js'
import { DEBIAN } from '../spec/define-image.js'
import type { ImageDefinition, ImageFile, ImageOptions } from '../spec/image-definition.js'
import { type Preparation, PreparedSource } from '../spec/image-definition.js'
import type { ImageSource } from '../spec/image-source.js'
import { describeFunction, ownRecipe } from './own-recipe.js'

/** Increase when the work of a layer, or the way its disk is kept, changes. */
const REVISION = 2
const LAYER_DISK = 'disk.qcow2'
const MAX_CONTENT_CHARS = 120
/**
 * Maximum number of commands of `run` with a layer of their own. The last layer contains all
 * further commands: each layer is a file that every guest opens.
 */
const MAX_COMMAND_LAYERS = 12

/** One layer of a defined image. */
export interface LayerWork {
  /** Name of the defined image. */
  readonly name: string
  /** Names of the options that the layer applies. */
  readonly label: string
  /** Content of the layer, for users. */
  readonly content: string
  /**
   * `guest`: in a booted guest of the image below. `disk`: in its root file system, mounted by a
   * helper guest; commands run there with chroot.
   */
  readonly place: 'guest' | 'disk'
  /** Preparations of the prepared image that this one is made from. They run first. */
  readonly steps: readonly Preparation[]
  readonly files: Readonly<Record<string, GuestFile>>
  readonly run: readonly string[]
  /** Runs last. */
  readonly prepare: Preparation | undefined
  readonly guest: ImageOptions['guest']
}

/** Builds the layers of one image. */
export interface LayerBuilder {
  /** Does the work on top of `base`, and leaves the overlay with the changes at `to`. */
  build(
    work: LayerWork,
    options: { readonly base: BaseImage; readonly to: string; readonly report: (step: string) => void },
  ): Promise<void>
  /** Ends the helper guest, if one runs. A later layer starts another. */
  release(): Promise<void>
}

export type StartLayers = (options: {
  readonly arch: GuestArch | undefined
  /** All layers of the image. */
  readonly layers: readonly LayerWork[]
  readonly signal: AbortSignal | undefined
}) => LayerBuilder

/** Base of a defined image. */
export interface DefinitionBase {
  readonly source: Recipe | ImageSource | ImageDefinition
  /** If true, the base is a Debian system with the packages of the definition: its first layer. */
  readonly isDebian: boolean
  /** Content of the base, for lists of images. Undefined: its name. */
  readonly content?: string | undefined
}

/** Returns the base of a defined image. Definitions with the same packages share one base. */
export function findBase({ options }: ImageDefinition): DefinitionBase {
  const { name, build, dependsOn, suite, packages = [], from = DEBIAN } = options
  if (build !== undefined) return { source: ownRecipe(name, build, dependsOn), isDebian: false }
  if (from !== DEBIAN) return { source: from instanceof PreparedSource ? from.source : from, isDebian: false }
  const sorted = [...new Set(packages)].sort()
  const isPlain = suite === undefined && sorted.length === 0
  const release = suite === undefined ? DEBIAN : `${DEBIAN} ${suite}`
  return {
    source: isPlain ? DEBIAN : debian(DEBIAN, { suite, packages: sorted }),
    isDebian: true,
    content: isPlain ? undefined : [release, ...(sorted.length === 0 ? [] : [sorted.join(', ')])].join(': '),
  }
}

type Changes = Pick<LayerWork, 'steps' | 'files' | 'run' | 'prepare'>

const NO_CHANGES: Changes = { steps: [], files: {}, run: [], prepare: undefined }

/**
 * Returns the layers on top of the base, the lowest first. If the root file system of the base is
 * known, files are written without booting the image. Otherwise, all work but `prepare` shares one
 * guest, because each boot takes longer than the work.
 */
export async function planLayers(
  { options }: ImageDefinition,
  { isDebian }: Pick<DefinitionBase, 'isDebian'>,
  root: BaseImage['root'],
): Promise<LayerWork[]> {
  const { name, guest, prepare, dependsOn, from } = options
  const files = await readFiles(name, options.files ?? {})
  const run = options.run ?? []
  const steps = from instanceof PreparedSource ? from.steps : []
  const last = prepare && { ...dependsOn, run: prepare }
  const plan = (place: LayerWork['place'], some: Partial<Changes>): LayerWork[] => {
    const changes = { ...NO_CHANGES, ...some }
    const labels = listLabels(changes)
    if (labels.length === 0) return []
    return [
      { ...changes, name, place, guest, label: labels.join(' and '), content: describeContent(changes) },
    ]
  }
  if (root === undefined) {
    const hasOneGuest = last === undefined || run.length + steps.length === 0
    if (hasOneGuest) return plan('guest', { steps, files, run, prepare: last })
    return [...plan('guest', { steps, files, run }), ...plan('guest', { prepare: last })]
  }
  const commands = isDebian
    ? groupCommands(run).flatMap((group) => plan('disk', { run: group }))
    : plan('guest', { run })
  return [
    ...plan('guest', { steps }),
    ...plan('disk', { files }),
    ...commands,
    ...plan('guest', { prepare: last }),
  ]
}

/** Returns the commands of each layer. */
function groupCommands(run: readonly string[]): string[][] {
  const first = run.slice(0, MAX_COMMAND_LAYERS - 1).map((command) => [command])
  const rest = run.slice(MAX_COMMAND_LAYERS - 1)
  return rest.length === 0 ? first : [...first, rest]
}

function listLabels({ steps, files, run, prepare }: Changes): string[] {
  const parts: ReadonlyArray<readonly [string, boolean]> = [
    ['prepared steps', steps.length > 0],
    ['files', Object.keys(files).length > 0],
    ['run', run.length > 0],
    ['prepare', prepare !== undefined],
  ]
  return parts.flatMap(([label, isSet]) => (isSet ? [label] : []))
}

function describeContent(changes: Changes): string {
  const details: Readonly<Record<string, readonly string[]>> = {
    files: Object.keys(changes.files),
    run: changes.run,
  }
  const text = listLabels(changes)
    .map((label) => [label, (details[label] ?? []).join(', ')].join(' ').trimEnd())
    .join('; ')
    .replaceAll(/\s+/g, ' ')
  return text.length <= MAX_CONTENT_CHARS ? text : `${text.slice(0, MAX_CONTENT_CHARS - 1)}…`
}

/** Returns everything that the disk of a layer depends on. */
export async function describeWork(work: LayerWork, base: BaseImage, imagesDir: string): Promise<unknown> {
  return {
    revision: REVISION,
    base: await fingerprintOf(work.name, base, imagesDir),
    // The layer refers to that file: it is unusable after the cache was moved, and may be wrong
    // after it was copied.
    basePath: base.disk?.path,
    place: work.place,
    steps: await Promise.all(work.steps.map((step) => describeFunction(step.run, step))),
    files: Object.entries(work.files).map(([path, { content, mode }]) => [
      path,
      mode,
      hashInputs(Buffer.from(content).toString('base64')),
    ]),
    run: work.run,
    prepare: work.prepare && (await describeFunction(work.prepare.run, work.prepare)),
    // The helper guest has no influence on the content of the disk.
    guest: work.place === 'guest' ? work.guest : undefined,
  }
}

/** Packs the files of a layer into an archive. */
export function packFiles({ files }: Pick<LayerWork, 'files'>): Buffer {
  return packTar(files)
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
