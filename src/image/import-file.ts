import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { findOciManifest, OCI_MARK, readOciImage } from '../archive/oci-layout.js'
import { extractOvaDisk, isDescriptor, requireDescriptor } from '../archive/ova.js'
import { RootTree } from '../archive/root-tree.js'
import { readMember, readTar, type TarEntry } from '../archive/tar-archive.js'
import { unpackFile } from '../archive/unpack.js'
import { copySparse } from '../common/files/sparse-copy.js'
import { iterateInBatches } from '../common/iterate-in-batches.js'
import { openDisk } from '../disk/backing-chain.js'
import { identifyFile } from '../disk/disk-file.js'
import { VMError, vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import { makeDiskOfTree, ROOT_FILES } from './root-image.js'

/**
 * Maximum nesting of compression and archives: a disk in a compressed archive that is compressed
 * again.
 */
const MAX_LAYERS = 4
/** Folders of which every root file system contains at least one. */
const ROOT_FOLDERS = ['bin', 'sbin', 'usr', 'etc']

export interface ImportOptions {
  readonly path: string
  /** Name used in messages. */
  readonly name: string
  /** Folder to which the disk is written. */
  readonly dir: string
  /** Format specified by the test; archives are not unpacked then. */
  readonly format?: DiskFormat | undefined
  /** If true, `path` is a temporary file and is removed. */
  readonly isTemporary: boolean
  readonly report: (step: string, amount?: string) => void
  readonly signal?: AbortSignal | undefined
}

/**
 * Unpacks a file until it is a disk or a root file system, which is converted to a disk. The result
 * is `ROOT_FILES.disk` in `dir`.
 *
 * @throws {UsageError} IMAGE_INVALID when the file contains no disk or a truncated one; a temporary
 *   file is removed then.
 * @throws {InfrastructureError} NO_SPACE, TOOL_NOT_FOUND.
 */
export async function importFile(options: ImportOptions): Promise<void> {
  try {
    await unpackLayers(options)
  } catch (error) {
    const isUseless = error instanceof VMError && error.code === 'IMAGE_INVALID'
    if (options.isTemporary && isUseless) await rm(options.path, { force: true })
    throw error
  }
}

async function unpackLayers(options: ImportOptions): Promise<void> {
  const { name, dir, format, report, signal } = options
  const onAmount = (amount: string) => report('unpacking', amount)
  let { path, isTemporary } = options
  for (let layer = 0; layer < MAX_LAYERS; layer++) {
    const content = await identifyFile(path, name)
    const isArchive = content.kind === 'tar' && format === undefined
    if (content.kind !== 'packed' && !isArchive) {
      // Backing files next to it in the cache never belong to it.
      await openDisk({ path, name, format, backingFolders: [dir], signal })
      const disk = join(dir, ROOT_FILES.disk)
      return isTemporary ? await rename(path, disk) : await copySparse(path, disk, signal)
    }
    report('unpacking')
    const to = join(dir, `layer-${layer}`)
    if (content.kind === 'packed') {
      await unpackFile({ from: path, to, packing: content.packing, onAmount, signal })
    }
    const isRoot = content.kind === 'tar' && (await unpackArchive({ path, name, dir, to, report, signal }))
    if (isTemporary) await rm(path)
    if (isRoot) return
    path = to
    isTemporary = true
  }
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${name} is compressed or archived too many times.`,
    expected: `a disk image, packed at most ${MAX_LAYERS - 1} times`,
    got: 'more layers',
    hint: 'Unpack it and specify the path of the disk image.',
  })
}

/**
 * Writes the disk of an appliance to `to` and returns false, or creates the disk of a root file
 * system and returns true.
 */
async function unpackArchive(
  options: Pick<ImportOptions, 'path' | 'name' | 'dir' | 'report' | 'signal'> & { readonly to: string },
): Promise<boolean> {
  const { path, name, dir, to, report, signal } = options
  const archive = await open(path, 'r')
  try {
    const entries: TarEntry[] = []
    for await (const entry of readTar(archive, name, signal)) entries.push(entry)
    if (entries.some(isDescriptor)) {
      await extractOvaDisk({ archive, name, entries, to, signal })
      return false
    }
    const tree = new RootTree(name)
    for await (const entry of iterateInBatches(entries, signal))
      tree.add(entry, () => readMember(archive, entry))
    if (tree.find(OCI_MARK) === undefined) {
      requireDescriptor(
        name,
        entries,
        ROOT_FOLDERS.some((folder) => tree.find(folder) !== undefined),
      )
      report('creating the disk')
      await makeDiskOfTree({ name, tree, command: undefined, dir, signal })
      return true
    }
    await mkdir(to)
    await tree.write(to, signal)
    await importOciLayout({ layout: to, name, manifest: await findOciManifest(to), dir, report, signal })
    await rm(to, { recursive: true })
    return true
  } finally {
    await archive.close()
  }
}

/** Creates the disk of an OCI image that starts the command of the image. */
export async function importOciLayout(
  options: Pick<ImportOptions, 'name' | 'dir' | 'report' | 'signal'> & {
    readonly layout: string
    readonly manifest: string
  },
): Promise<void> {
  const { layout, manifest, name, dir, report, signal } = options
  report('unpacking')
  const { tree, command, close } = await readOciImage({ dir: layout, manifest, workDir: dir, signal })
  try {
    report('creating the disk')
    await makeDiskOfTree({ name, tree, command, dir, signal })
  } finally {
    await close()
  }
}
