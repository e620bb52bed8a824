import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { iterateInBatches } from '../common/iterate-in-batches.js'
import { MIB } from '../common/units.js'
import { identifyFile } from '../disk/disk-file.js'
import { type VMError, vmError } from '../errors.js'
import { readSmallFile } from './read-layout-file.js'
import { RootTree } from './root-tree.js'
import { readMember, readTar } from './tar-archive.js'
import { unpackFile } from './unpack.js'

/** Command of an OCI image (OCI Image Configuration). */
export interface OciCommand {
  readonly argv: readonly string[]
  readonly env: readonly string[]
  readonly workingDir: string
}

interface Descriptor {
  readonly mediaType?: string
  readonly digest: string
  readonly platform?: { readonly os?: string; readonly architecture?: string }
}

interface Manifest {
  readonly manifests?: readonly Descriptor[]
  readonly config?: Descriptor | null
  readonly layers?: readonly Descriptor[]
}

interface Config {
  readonly config?: {
    readonly Entrypoint?: readonly string[] | null
    readonly Cmd?: readonly string[] | null
    readonly Env?: readonly string[] | null
    readonly WorkingDir?: string
  }
}

/** File that marks a folder as an OCI image layout (OCI Image Layout Specification 1.0). */
export const OCI_MARK = 'oci-layout'

const ARCHITECTURE = 'amd64'
/** Maximum number of layers. Docker supports at most 127. */
const MAX_LAYERS = 500

/**
 * Returns the digest of the manifest for this architecture. The digest changes with any part of the
 * image.
 *
 * @throws {UsageError} IMAGE_INVALID when the layout has no such manifest or is damaged.
 */
export async function findOciManifest(dir: string): Promise<string> {
  const text = await readSmallFile(join(dir, 'index.json')).catch(() => Buffer.from('{}'))
  let index = parseJson<Manifest>(dir, 'index.json', text)
  // An index may refer to another index with the manifests of all architectures.
  for (let depth = 0; depth < 3; depth++) {
    const all = listOf(dir, index.manifests)
    const matching = all.find(
      ({ platform }) => platform?.architecture === ARCHITECTURE && platform.os === 'linux',
    )
    const chosen = matching ?? (all.length === 1 ? all[0] : undefined)
    if (chosen === undefined) {
      const found = all.map(({ platform }) => `${platform?.os ?? '?'}/${platform?.architecture ?? '?'}`)
      throw invalidLayoutError(dir, `one image, or one for linux/${ARCHITECTURE}`, found.join(', ') || 'none')
    }
    index = await readJson<Manifest>(dir, chosen)
    if (index.layers !== undefined) return chosen.digest
  }
  throw invalidLayoutError(dir, 'an index that leads to a manifest', 'nested indexes')
}

/**
 * Merges the layers of an image. Unpacked layers stay in `workDir` until `close` is called.
 *
 * @throws {UsageError} IMAGE_INVALID when a part is missing, damaged or does not match its digest.
 */
export async function readOciImage(options: {
  readonly dir: string
  readonly manifest: string
  readonly workDir: string
  readonly signal?: AbortSignal | undefined
}): Promise<{ tree: RootTree; command: OciCommand | undefined; close: () => Promise<void> }> {
  const { dir, workDir, signal } = options
  const manifest = await readJson<Manifest>(dir, { digest: options.manifest })
  const tree = new RootTree(dir)
  const archives: FileHandle[] = []
  const close = async () => {
    for (const archive of archives) await archive.close()
  }
  try {
    const layers = listOf(dir, manifest.layers)
    if (layers.length > MAX_LAYERS)
      throw invalidLayoutError(dir, `at most ${MAX_LAYERS} layers`, String(layers.length))
    for (const [index, layer] of layers.entries()) {
      const path = await unpackLayer(dir, layer, join(workDir, `layer-${index}.tar`), signal)
      const archive = await open(path, 'r')
      archives.push(archive)
      if (path !== blobPath(dir, layer)) await rm(path)
      await addLayer(tree, archive, dir, signal)
    }
    if (manifest.config !== undefined && typeof manifest.config?.digest !== 'string')
      throw invalidLayoutError(dir, 'a `config` with a digest', 'an invalid one')
    const { config } = manifest.config === undefined ? {} : await readJson<Config>(dir, manifest.config)
    const argv = [...wordsOf(dir, config?.Entrypoint), ...wordsOf(dir, config?.Cmd)]
    const [workingDir = '/'] = wordsOf(dir, [config?.WorkingDir || '/'])
    return {
      tree,
      command: argv.length === 0 ? undefined : { argv, env: wordsOf(dir, config?.Env), workingDir },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..opq'

/**
 * Adds a layer. A member `.wh.NAME` removes a file of lower layers, and `.wh..wh..opq` removes all
 * their files in its folder.
 */
async function addLayer(
  tree: RootTree,
  archive: FileHandle,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const entries = []
  for await (const entry of readTar(archive, name, signal)) entries.push(entry)
  const whiteouts = new Set(entries.filter(({ path }) => /(^|\/)\.wh\.[^/]+$/.test(path)))
  for await (const { path } of iterateInBatches(whiteouts, signal)) {
    const at = path.lastIndexOf('/') + 1
    const removed = path.slice(at + WHITEOUT.length)
    if (removed === OPAQUE) tree.empty(path.slice(0, Math.max(0, at - 1)))
    else tree.remove(path.slice(0, at) + removed)
  }
  for await (const entry of iterateInBatches(entries, signal))
    if (!whiteouts.has(entry)) tree.add(entry, () => readMember(archive, entry))
}

/** Returns the path of the layer's archive, which is the layer itself if it is not compressed. */
async function unpackLayer(
  dir: string,
  layer: Descriptor,
  to: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const from = blobPath(dir, layer)
  const hash = createHash('sha256')
  await identifyFile(from).catch((error: Error) => {
    throw invalidLayoutError(
      dir,
      `the layer ${layer.digest}`,
      (error as NodeJS.ErrnoException).code ?? error.message,
    )
  })
  try {
    for await (const piece of createReadStream(from, { highWaterMark: MIB, signal }))
      hash.update(piece as Buffer)
  } catch (error) {
    signal?.throwIfAborted()
    throw invalidLayoutError(
      dir,
      `the layer ${layer.digest}`,
      (error as NodeJS.ErrnoException).code ?? String(error),
    )
  }
  const digest = `sha256:${hash.digest('hex')}`
  if (digest !== layer.digest) throw invalidLayoutError(dir, `a layer ${layer.digest}`, digest)
  const content = await identifyFile(from)
  if (content.kind !== 'packed') return from
  await unpackFile({ from, to, packing: content.packing, signal })
  return to
}

async function readJson<T>(dir: string, { digest }: Pick<Descriptor, 'digest'>): Promise<T> {
  const bytes = await readSmallFile(blobPath(dir, { digest })).catch((error: NodeJS.ErrnoException) => {
    throw invalidLayoutError(dir, `the part ${digest}`, error.code ?? String(error))
  })
  const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  if (found !== digest) throw invalidLayoutError(dir, `a part ${digest}`, found)
  return parseJson<T>(dir, digest, bytes)
}

/**
 * The message of the parser is not used, because it quotes content, which may come from any file of
 * the host.
 */
function parseJson<T>(dir: string, part: string, bytes: Buffer): T {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as T
  } catch {}
  throw invalidLayoutError(dir, `a JSON object in ${part}`, 'invalid content')
}

function listOf(dir: string, list: readonly Descriptor[] | undefined): readonly Descriptor[] {
  const isDescriptor = (item: Descriptor | null) => typeof item?.digest === 'string'
  if (list === undefined || (Array.isArray(list) && list.every(isDescriptor))) return list ?? []
  throw invalidLayoutError(dir, 'lists of parts with digests', 'an invalid list')
}

function wordsOf(dir: string, list: readonly string[] | null | undefined): readonly string[] {
  const isWord = (word: unknown) => typeof word === 'string'
  if (list === undefined || list === null || (Array.isArray(list) && list.every(isWord))) return list ?? []
  throw invalidLayoutError(dir, 'strings in the command and environment', 'other values')
}

function blobPath(dir: string, { digest }: Pick<Descriptor, 'digest'>): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1]
  if (hex === undefined) throw invalidLayoutError(dir, 'parts named by their SHA-256', digest)
  return join(dir, 'blobs', 'sha256', hex)
}

function invalidLayoutError(dir: string, expected: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The OCI image layout ${dir} is invalid.`,
    expected,
    got,
    hint: 'Create it again, for example with `skopeo copy docker-daemon:NAME oci:FOLDER:latest`.',
  })
}
