import { readdir, realpath, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Recipe } from '../../images/recipe.js'
import { RECIPES } from '../../images/recipes.js'
import { findOciManifest, OCI_MARK } from '../archive/oci-layout.js'
import { readEntryIdentity } from '../cache/cache.js'
import { describeLockWait } from '../cache/entry-lock.js'
import { digestFile } from '../cache/file-digest.js'
import {
  type ImageCaches,
  imagesDir,
  openStoredImage,
  type StoredImageOptions,
} from '../cache/image-store.js'
import { resolveCacheDir, resolveSharedCacheDir } from '../common/cache-dir.js'
import { nearestName } from '../common/nearest-name.js'
import { createProgress } from '../common/progress.js'
import { openDisk } from '../disk/backing-chain.js'
import { identifyFile } from '../disk/disk-file.js'
import { type VMError, vmError } from '../errors.js'
import { describeArch, type GuestArch, hostArch } from '../spec/architectures.js'
import type { BaseImage, DiskSecret } from '../spec/base-image.js'
import { ImageDefinition } from '../spec/image-definition.js'
import type { FileImage, ImageSource, UrlImage } from '../spec/image-source.js'
import { describeLayered, describeWork, layerPath, type MakeLayer, planDefinition } from './defined-image.js'
import { downloadFile } from './download.js'
import { importFile, importOciLayout } from './import-file.js'
import { isRootImage, makeRootDisk, ROOT_FILES, readFolder } from './root-image.js'

export interface ResolveImageOptions {
  /** What guest it is for. @default this host's own architecture */
  readonly arch?: GuestArch | undefined
  /** @default `WITHVM_CACHE`, else `$XDG_CACHE_HOME/withvm`, else `~/.cache/withvm` */
  readonly cacheDir?: string | undefined
  /** A cache that is only read, and looked at first. @default `WITHVM_SHARED_CACHE` */
  readonly sharedCacheDir?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Called with each step of what takes long. @default a progress line on stderr, if it takes more than a second */
  readonly onProgress?: Report | undefined
  /** Does what takes a guest. Without it, images that were defined with such work cannot be made. */
  readonly makeLayer?: MakeLayer | undefined
}

type Report = (step: string, amount?: string) => void

const GIB = 1024 ** 3
/** Their first program is one of x86-64's system calls. */
const ROOT_ARCHITECTURES: readonly GuestArch[] = ['x86_64']
/** Count up when what is made of a file that is imported changes. */
const IMPORT_REVISION = 1

/**
 * Gives an image that lies ready on this host's disk: a recipe's, built if it is not in the cache; the file at a path,
 * examined, and unpacked into the cache if it is packed; or what is at a URL, downloaded into the cache. A name is a
 * recipe's if there is one, else a path.
 *
 * @throws {UsageError} IMAGE_NOT_FOUND when there is none; IMAGE_INVALID when it is no whole disk image; IMAGE_CHECKSUM_WRONG.
 * @throws {InfrastructureError} IMAGE_LOCKED, IMAGE_BUILD_FAILED, IMAGE_FETCH_FAILED, NO_SPACE, TOOL_NOT_FOUND.
 */
export async function resolveImage(
  source: ImageSource | ImageDefinition<unknown>,
  options: ResolveImageOptions = {},
): Promise<BaseImage> {
  options.signal?.throwIfAborted()
  if (source instanceof ImageDefinition) return openDefinition(source, options)
  if (typeof source !== 'string') {
    return 'url' in source ? openUrl(source, options) : openPath(source, options)
  }
  const recipe = Object.hasOwn(RECIPES, source) ? RECIPES[source] : undefined
  if (recipe !== undefined) return openRecipe(recipe, options)
  return openPath({ path: source }, options, Object.keys(RECIPES))
}

async function openRecipe(recipe: Recipe, options: ResolveImageOptions): Promise<BaseImage> {
  const { name } = recipe
  const { arch = hostArch(), signal } = options
  requireArch(recipe, arch)
  const origin = arch === hostArch() ? name : `${name} for ${arch}`
  const dir = await openStored(`building the image ${origin}`, options, {
    name,
    origin,
    inputs: await recipe.readInputs(arch),
    build: (building, _partial, report) =>
      recipe.build({ dir: building, arch, signal, report: (step) => report(step) }),
  })
  return { ...(await recipe.open(dir, arch)), identity: await readEntryIdentity(dir) }
}

/** @throws {UsageError} IMAGE_NOT_FOUND when the recipe cannot be made for such guests. */
export function requireArch(
  { name, architectures }: Pick<Recipe, 'name' | 'architectures'>,
  arch: GuestArch,
): void {
  if (architectures.includes(arch)) return
  throw vmError('IMAGE_NOT_FOUND', {
    summary: `There is no image ${name} for ${arch} guests.`,
    expected: `arch: ${architectures.map((known) => `'${known}'`).join(', ')}`,
    got: `arch: '${arch}'`,
    hint: 'Give the path of a disk image, or `kernel` and `initrd`, or image: false for a machine with nothing but its firmware.',
  })
}

/** What takes a guest is done in one, on top of what the image is made from. */
async function openDefinition(
  definition: ImageDefinition<unknown>,
  options: ResolveImageOptions,
): Promise<BaseImage> {
  const { name } = definition.options
  const { base: source, work } = await planDefinition(definition)
  const isRecipe = typeof source === 'object' && 'readInputs' in source
  const base = isRecipe ? await openRecipe(source, options) : await resolveImage(source, options)
  if (work === undefined) return { ...base, name }
  const { makeLayer, signal } = options
  if (makeLayer === undefined)
    throw new TypeError('this image is made in a guest, and there is no way to start one')
  const dir = await openStored(`making the image ${name}`, options, {
    name,
    origin: name,
    inputs: await describeWork(work, base, imagesDir(readCaches(options))),
    build: (building, _partial, report) =>
      makeLayer(work, { base, to: layerPath(building), report: (step) => report(step), signal }),
  })
  return { ...describeLayered(base, name, dir), identity: await readEntryIdentity(dir) }
}

async function openUrl(source: UrlImage, options: ResolveImageOptions): Promise<BaseImage> {
  const { url, sha256, sha512, format } = source
  const { signal } = options
  const algorithm = sha256 === undefined ? 'sha512' : 'sha256'
  const checksum = { algorithm, hex: (sha256 ?? sha512 ?? '').toLowerCase() } as const
  const dir = await openStored(`the image ${url}`, options, {
    name: 'download',
    origin: url,
    inputs: { revision: IMPORT_REVISION, ...checksum, isDisk: format !== undefined },
    build: async (building, partial, report) => {
      report('downloading')
      const onAmount = (amount: string) => report('downloading', amount)
      await downloadFile({ url, checksum, path: partial, onAmount, signal })
      await importFile({ path: partial, name: url, dir: building, format, isOurs: true, report, signal })
    },
  })
  return describeImport(dir, url, source, options)
}

async function openPath(
  source: FileImage,
  options: ResolveImageOptions,
  recipes: readonly string[] = [],
): Promise<BaseImage> {
  const { format, backingFolders } = source
  const { signal } = options
  const { path, name } = await locate(source.path, recipes)
  const isFolder = (await stat(path)).isDirectory()
  if (isFolder && format === undefined) return openFolder(source, path, options)
  const content = format === 'raw' ? undefined : await identifyFile(path, name)
  if (content?.kind === 'packed' || (content?.kind === 'tar' && format === undefined)) {
    const sha256 = await digestFile(path, imagesDir(readCaches(options)))
    const dir = await openStored(`the image ${source.path}`, options, {
      name: 'unpacked',
      origin: path,
      inputs: { revision: IMPORT_REVISION, sha256, isDisk: format !== undefined },
      build: (building, _partial, report) =>
        importFile({ path, name, dir: building, format, isOurs: false, report, signal }),
    })
    return describeImport(dir, source.path, source, options)
  }
  return describeDisk(
    source.path,
    { path, name, format, backingFolders, signal },
    source.secret,
    options.arch,
  )
}

/** An OCI image layout, or a root file system. */
async function openFolder(source: FileImage, path: string, options: ResolveImageOptions): Promise<BaseImage> {
  const { signal } = options
  const name = source.path
  const isLayout = (await readdir(path)).includes(OCI_MARK)
  const manifest = isLayout ? await findOciManifest(path) : undefined
  const content = isLayout ? undefined : await readFolder(path)
  const dir = await openStored(`the image ${name}`, options, {
    name: isLayout ? 'oci' : 'root',
    origin: path,
    inputs: { revision: IMPORT_REVISION, manifest, path: content && path, identity: content?.identity },
    build: async (building, _partial, report) => {
      if (manifest !== undefined) {
        await importOciLayout({ layout: path, name, manifest, dir: building, report, signal })
      } else if (content !== undefined) {
        report('making the disk')
        await makeRootDisk({ name, source: path, content, command: undefined, dir: building, signal })
      }
    },
  })
  return describeImport(dir, source.path, source, options)
}

/** Opens an entry of the cache, and tells of it while it is made. */
export async function openStored(
  subject: string,
  options: ResolveImageOptions,
  entry: Pick<StoredImageOptions, 'name' | 'origin' | 'inputs'> & {
    readonly build: (dir: string, partial: string, report: Report) => Promise<void>
  },
): Promise<string> {
  const { signal, onProgress } = options
  const progress = onProgress === undefined ? createProgress(subject) : undefined
  const report: Report = onProgress ?? ((step, amount) => progress?.report(step, amount))
  let result: string | undefined
  try {
    const dir = await openStoredImage({
      ...readCaches(options),
      ...entry,
      build: (building, partial) => entry.build(building, partial, report),
      onWait: (holder) => report(describeLockWait(holder)),
      onExcess: (text) => void process.stderr.write(`withvm: ${text}.\n`),
      signal,
    })
    result = 'done'
    return dir
  } finally {
    progress?.end(result)
  }
}

/** The caches of this process, as its environment names them where the options do not. */
export function readCaches({ cacheDir, sharedCacheDir }: ResolveImageOptions = {}): ImageCaches {
  return {
    cacheDir: cacheDir ?? resolveCacheDir(),
    sharedCacheDir: sharedCacheDir ?? resolveSharedCacheDir(),
  }
}

/** What was imported is a disk that boots by itself, or a root file system, which the kernel of `tiny` boots. */
async function describeImport(
  dir: string,
  name: string,
  { format, secret }: Pick<FileImage, 'format' | 'secret'>,
  options: ResolveImageOptions,
): Promise<BaseImage> {
  const { signal } = options
  const path = join(dir, ROOT_FILES.disk)
  if (!(await isRootImage(dir)))
    return describeDisk(name, { path, name, format, signal }, secret, options.arch)
  requireArch(
    { name: 'of a root file system', architectures: ROOT_ARCHITECTURES },
    options.arch ?? hostArch(),
  )
  const { directBoot } = await resolveImage('tiny', options)
  const image = await describeDisk(name, { path, name, format: 'qcow2', signal }, secret)
  if (directBoot === undefined) return image
  // What cloud-init would need to read its disk is a module of the kernel that such a guest does not have.
  return { ...image, directBoot, traits: { ...image.traits, mayHaveCloudInit: false } }
}

async function describeDisk(
  name: string,
  options: Parameters<typeof openDisk>[0],
  secret: DiskSecret | undefined,
  arch: GuestArch = hostArch(),
): Promise<BaseImage> {
  const { path, format, isEncrypted, virtualBytes } = await openDisk(options)
  if (isEncrypted !== (secret !== undefined)) throw secretMismatch(options.name ?? path, isEncrypted)
  return {
    name,
    disk: { path, format, encryption: secret === undefined ? undefined : { secret, virtualBytes } },
    // What is in it is unknown. One of systemd's guests takes its keys from SMBIOS; others do not mind.
    traits: {
      sshUser: 'root',
      credentials: describeArch(arch).hasSmbios ? 'smbios' : 'none',
      hasAgent: false,
      mayHaveCloudInit: true,
      hasIdentityAgent: false,
      startEffort: 1,
    },
    defaults: { memoryBytes: GIB, cpus: 1 },
  }
}

function secretMismatch(name: string, isEncrypted: boolean): VMError {
  return vmError('IMAGE_INVALID', {
    summary: isEncrypted
      ? `The image ${name} is encrypted, and nothing was given to open it.`
      : `The image ${name} is not encrypted, and something was given to open it.`,
    expected: isEncrypted ? '`secret` beside its path or URL' : 'no `secret`, or another image',
    got: isEncrypted ? 'none' : 'an image that everybody can read',
    hint: isEncrypted
      ? "Give it: image: { path, secret: { file } }. Where the guest itself opens the disk, say format: 'raw'."
      : 'Leave `secret` away if that is as it should be.',
  })
}

/** Where a path leads to, and what messages call it: both, where it is a symbolic link. */
async function locate(given: string, recipes: readonly string[]) {
  const path = given.startsWith('file:') ? readFileUrl(given) : resolve(given)
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    throw notFound(given, path, recipes, error)
  })
  // Of a folder above that is a link, nobody needs to be told.
  const isLink = basename(real) !== basename(path)
  return { path: real, name: isLink ? `${path} (a link to ${real})` : path }
}

function readFileUrl(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (error) {
    throw vmError('IMAGE_NOT_FOUND', {
      summary: `There is no image ${url}.`,
      expected: 'a URL of this host, such as file:///srv/disk.qcow2',
      got: (error as Error).message,
      hint: 'Give the path itself.',
      cause: error,
    })
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
