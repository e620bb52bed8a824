import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type VMError, vmError } from '../errors.js'
import { identifyFile } from './disk-file.js'
import { RootTree } from './root-tree.js'
import { readMember, readTar } from './tar-archive.js'
import { unpackFile } from './unpack.js'

/** What an image of containers is to run (OCI Image Configuration). */
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
  readonly config?: Descriptor
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

/** The file that makes a folder an OCI image layout (OCI Image Layout Specification 1.0). */
export const OCI_MARK = 'oci-layout'

const ARCHITECTURE = 'amd64'

/**
 * Finds the manifest for this architecture, and gives its digest: it changes with all that is in the image.
 *
 * @throws {UsageError} IMAGE_INVALID when the layout has none, or is damaged.
 */
export async function findOciManifest(dir: string): Promise<string> {
  let index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8').catch(() => '{}')) as Manifest
  // An index may name an index, which has the manifests of all architectures.
  for (let depth = 0; depth < 3; depth++) {
    const all = index.manifests ?? []
    const fitting = all.find(
      ({ platform }) => platform?.architecture === ARCHITECTURE && platform.os === 'linux',
    )
    const chosen = fitting ?? (all.length === 1 ? all[0] : undefined)
    if (chosen === undefined) {
      const found = all.map(({ platform }) => `${platform?.os ?? '?'}/${platform?.architecture ?? '?'}`)
      throw invalid(dir, `one image, or one for linux/${ARCHITECTURE}`, found.join(', ') || 'none')
    }
    index = await readJson<Manifest>(dir, chosen)
    if (index.layers !== undefined) return chosen.digest
  }
  throw invalid(dir, 'an index that comes to a manifest', 'indexes of indexes')
}

/**
 * Puts the layers of an image on each other. What they are unpacked to lies in `workDir` until `close` is called.
 *
 * @throws {UsageError} IMAGE_INVALID when a part is missing, damaged or not what its digest says.
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
    for (const [index, layer] of (manifest.layers ?? []).entries()) {
      const path = await unpackLayer(dir, layer, join(workDir, `layer-${index}.tar`), signal)
      const archive = await open(path, 'r')
      archives.push(archive)
      if (path !== blobPath(dir, layer)) await rm(path)
      await addLayer(tree, archive, dir)
    }
    const { config } = manifest.config === undefined ? {} : await readJson<Config>(dir, manifest.config)
    const argv = [...(config?.Entrypoint ?? []), ...(config?.Cmd ?? [])]
    const workingDir = config?.WorkingDir || '/'
    return {
      tree,
      command: argv.length === 0 ? undefined : { argv, env: config?.Env ?? [], workingDir },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A member `.wh.NAME` takes away what a lower layer has, `.wh..wh..opq` all that its folder has of them. */
async function addLayer(tree: RootTree, archive: FileHandle, name: string): Promise<void> {
  const entries = []
  for await (const entry of readTar(archive, name)) entries.push(entry)
  const whiteouts = entries.filter(({ path }) => /(^|\/)\.wh\.[^/]+$/.test(path))
  for (const { path } of whiteouts) {
    const at = path.lastIndexOf('.wh.')
    if (path.endsWith('.wh..wh..opq')) tree.empty(path.slice(0, path.indexOf('.wh.')).replace(/\/$/, ''))
    else tree.remove(path.slice(0, at) + path.slice(at + '.wh.'.length))
  }
  for (const entry of entries)
    if (!whiteouts.includes(entry)) tree.add(entry, () => readMember(archive, entry))
}

/** Gives the path of the archive: that of the layer itself, where it is not packed. */
async function unpackLayer(
  dir: string,
  layer: Descriptor,
  to: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const from = blobPath(dir, layer)
  const hash = createHash('sha256')
  try {
    for await (const piece of createReadStream(from, { highWaterMark: 1 << 20, signal }))
      hash.update(piece as Buffer)
  } catch (error) {
    signal?.throwIfAborted()
    throw invalid(dir, `the layer ${layer.digest}`, (error as NodeJS.ErrnoException).code ?? String(error))
  }
  const digest = `sha256:${hash.digest('hex')}`
  if (digest !== layer.digest) throw invalid(dir, `a layer ${layer.digest}`, digest)
  const content = await identifyFile(from)
  if (content.kind !== 'packed') return from
  await unpackFile({ from, to, packing: content.packing, signal })
  return to
}

async function readJson<T>(dir: string, { digest }: Pick<Descriptor, 'digest'>): Promise<T> {
  const bytes = await readFile(blobPath(dir, { digest })).catch((error: NodeJS.ErrnoException) => {
    throw invalid(dir, `the part ${digest}`, error.code ?? String(error))
  })
  const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  if (found !== digest) throw invalid(dir, `a part ${digest}`, found)
  return JSON.parse(bytes.toString('utf8')) as T
}

function blobPath(dir: string, { digest }: Pick<Descriptor, 'digest'>): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1]
  if (hex === undefined) throw invalid(dir, 'parts that are named by their SHA-256', digest)
  return join(dir, 'blobs', 'sha256', hex)
}

function invalid(dir: string, expected: string, got: string): VMError {
  return vmError('IMAGE_INVALID', {
    summary: `The OCI image layout ${dir} cannot be used.`,
    expected,
    got,
    hint: 'Make it again, for instance with: skopeo copy docker-daemon:NAME oci:FOLDER:latest',
  })
}
