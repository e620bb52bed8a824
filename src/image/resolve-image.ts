import { readdir, realpath, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RECIPES } from '../../images/recipes.js'
import { findOciManifest, OCI_MARK } from '../archive/oci-layout.js'
import { digestFile } from '../cache/file-digest.js'
import { imagesDir } from '../cache/image-store.js'
import { nearestName } from '../common/nearest-name.js'
import { GIB } from '../common/units.js'
import { openDisk } from '../disk/backing-chain.js'
import { identifyFile } from '../disk/disk-file.js'
import { type VMError, vmError } from '../errors.js'
import { describeArch, type GuestArch, hostArch } from '../spec/architectures.js'
import type { BaseImage, DiskSecret } from '../spec/base-image.js'
import { ImageDefinition } from '../spec/image-definition.js'
import type { FileImage, ImageSource, UrlImage } from '../spec/image-source.js'
import type { StartLayers } from './defined-image.js'
import { importOciLayout } from './import-file.js'
import { openDefinition } from './open-definition.js'
import { openRecipe, requireArch } from './open-recipe.js'
import { isRootImage, makeRootDisk, ROOT_FILES, readFolder } from './root-image.js'
import { openStored, readCaches, type StoredOptions } from './stored-image.js'

export interface ResolveImageOptions extends StoredOptions {
  /** Architecture of the guest. @default the host's architecture */
  readonly arch?: GuestArch | undefined
  /** Builds the layers of defined images. Required for images whose definition has layers. */
  readonly startLayers?: StartLayers | undefined
}

/** Root file systems: their init program uses x86-64 system calls. */
const ROOT_ARCHITECTURES: readonly GuestArch[] = ['x86_64']
/** Increase when the result of an import changes. */
const IMPORT_REVISION = 1

/**
 * Resolves an image to files on this host. A recipe is built if it is not in the cache. A path is
 * verified, and unpacked into the cache if it is compressed. A URL is downloaded into the cache. A
 * name is a recipe if a recipe of that name exists, else a path.
 *
 * @throws {UsageError} IMAGE_NOT_FOUND when the image does not exist; IMAGE_INVALID when it is not
 *   a complete disk image; IMAGE_CHECKSUM_WRONG.
 * @throws {InfrastructureError} IMAGE_LOCKED, IMAGE_BUILD_FAILED, IMAGE_FETCH_FAILED, NO_SPACE,
 *   TOOL_NOT_FOUND.
 */
export async function resolveImage(
  source: ImageSource | ImageDefinition,
  options: ResolveImageOptions = {},
): Promise<BaseImage> {
  options.signal?.throwIfAborted()
  if (source instanceof ImageDefinition) return openDefinition(source, options, resolveImage)
  if (typeof source !== 'string') {
    return 'url' in source ? openUrl(source, options) : openPath(source, options)
  }
  const recipe = Object.hasOwn(RECIPES, source) ? RECIPES[source] : undefined
  if (recipe !== undefined) return openRecipe(recipe, options)
  return openPath({ path: source }, options, Object.keys(RECIPES))
}

async function openUrl(source: UrlImage, options: ResolveImageOptions): Promise<BaseImage> {
  const { url, sha256, sha512, format } = source
  const algorithm = sha256 === undefined ? 'sha512' : 'sha256'
  const checksum = { algorithm, hex: (sha256 ?? sha512 ?? '').toLowerCase() } as const
  const dir = await openStored(`the image ${url}`, options, {
    name: 'download',
    origin: url,
    inputs: { revision: IMPORT_REVISION, ...checksum, isDisk: format !== undefined },
    job: { kind: 'download', url, checksum, format },
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
  const { path, name } = await resolveImagePath(source.path, recipes)
  const isFolder = (await stat(path)).isDirectory()
  if (isFolder && format === undefined) return openFolder(source, path, options)
  const content = format === 'raw' ? undefined : await identifyFile(path, name)
  if (content?.kind === 'packed' || (content?.kind === 'tar' && format === undefined)) {
    const sha256 = await digestFile(path, imagesDir(readCaches(options)))
    const dir = await openStored(`the image ${source.path}`, options, {
      name: 'unpacked',
      origin: path,
      inputs: { revision: IMPORT_REVISION, sha256, isDisk: format !== undefined },
      job: { kind: 'unpack', path, name, format },
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

/** Opens a folder: an OCI image layout or a root file system. */
async function openFolder(source: FileImage, path: string, options: ResolveImageOptions): Promise<BaseImage> {
  const { signal } = options
  const name = source.path
  const isLayout = (await readdir(path)).includes(OCI_MARK)
  const manifest = isLayout ? await findOciManifest(path) : undefined
  const content = isLayout ? undefined : await readFolder(path)
  const dir = await openStored(`the image ${name}`, options, {
    name: isLayout ? 'oci' : 'root',
    origin: path,
    inputs: { revision: IMPORT_REVISION, manifest, path: content && path, fingerprint: content?.fingerprint },
    build: async (building, _partial, report) => {
      if (manifest !== undefined) {
        await importOciLayout({ layout: path, name, manifest, dir: building, report, signal })
      } else if (content !== undefined) {
        report('creating the disk')
        await makeRootDisk({ name, source: path, content, command: undefined, dir: building, signal })
      }
    },
  })
  return describeImport(dir, source.path, source, options)
}

/**
 * Describes an imported image: a disk that boots by itself, or a root file system booted by the
 * kernel of `tiny`.
 */
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
  // The kernel of `tiny` lacks the module with which cloud-init reads its disk.
  return { ...image, directBoot, traits: { ...image.traits, mayHaveCloudInit: false, lacksModules: true } }
}

async function describeDisk(
  name: string,
  options: Parameters<typeof openDisk>[0],
  secret: DiskSecret | undefined,
  arch: GuestArch = hostArch(),
): Promise<BaseImage> {
  const { path, format, isEncrypted, virtualBytes } = await openDisk(options)
  if (isEncrypted !== (secret !== undefined)) throw secretMismatchError(options.name ?? path, isEncrypted)
  return {
    name,
    disk: { path, format, encryption: secret === undefined ? undefined : { secret, virtualBytes } },
    // The content is unknown. A guest with systemd reads keys from SMBIOS; others ignore them.
    traits: {
      sshUser: 'root',
      credentials: describeArch(arch).hasSmbios ? 'smbios' : 'none',
      hasAgent: false,
      mayHaveCloudInit: true,
      bootTimeFactor: 1,
    },
    defaults: { memoryBytes: GIB, cpus: 1 },
  }
}

function secretMismatchError(name: string, isEncrypted: boolean): VMError {
  return vmError('IMAGE_INVALID', {
    summary: isEncrypted
      ? `The image ${name} is encrypted, and no \`secret\` is set.`
      : `The image ${name} is not encrypted, but \`secret\` is set.`,
    expected: isEncrypted ? '`secret` next to its path or URL' : 'no `secret`, or an encrypted image',
    got: isEncrypted ? 'no `secret`' : 'an unencrypted image',
    hint: isEncrypted
      ? "Set `image: { path, secret: { file } }`, or `format: 'raw'` if the guest itself opens the disk."
      : 'Remove `secret` if the image need not be encrypted.',
  })
}

/**
 * Returns the real path of an image and its name in messages, which shows both paths of a symbolic
 * link.
 */
async function resolveImagePath(given: string, recipes: readonly string[]) {
  const path = given.startsWith('file:') ? readFileUrl(given) : resolve(given)
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    throw imageNotFoundError(given, path, recipes, error)
  })
  // Links in parent folders are not shown.
  const isLink = basename(real) !== basename(path)
  return { path: real, name: isLink ? `${path} (a link to ${real})` : path }
}

function readFileUrl(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (error) {
    throw vmError('IMAGE_NOT_FOUND', {
      summary: `The image ${url} was not found.`,
      expected: 'a local file URL, for example file:///srv/disk.qcow2',
      got: (error as Error).message,
      hint: 'Specify the path of the file.',
      cause: error,
    })
  }
}

function imageNotFoundError(
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
      ? `Use a built-in image (${recipes.join(', ')}) or the path of a disk image.`
      : 'Check the path; relative paths start at the working directory.',
  ]
  return vmError('IMAGE_NOT_FOUND', {
    summary: `The image ${name} was not found.`,
    expected: isName ? `a built-in image (${recipes.join(', ')}) or the path of a file` : 'a file',
    got,
    hint: hints.join(' '),
    ...(cause.code !== 'ENOENT' && { cause }),
  })
}
