import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import { openDisk } from './backing-chain.js'
import { identifyFile } from './disk-file.js'
import { extractOvaDisk, isDescriptor } from './ova.js'
import { copySparse } from './sparse-copy.js'
import { readTar, type TarEntry } from './tar-archive.js'
import { unpackFile } from './unpack.js'

/** The file of an entry of the cache that is an imported disk. */
export const DISK_FILE = 'disk'
/** A disk in a packed archive that is packed itself: more is a riddle. */
const MOST_LAYERS = 4

export interface ImportOptions {
  readonly path: string
  /** As messages call it. */
  readonly name: string
  /** The folder that gets the disk. */
  readonly dir: string
  /** What the author says the disk is; archives are not looked into then. */
  readonly format?: DiskFormat | undefined
  /** Whether `path` is a file of ours: it goes away. */
  readonly isOurs: boolean
  readonly report: (step: string, amount?: string) => void
  readonly signal?: AbortSignal | undefined
}

/**
 * Unpacks a file until it is a disk, which becomes `DISK_FILE` in `dir`.
 *
 * @throws {UsageError} IMAGE_INVALID when it comes to none, or to one that is not whole.
 * @throws {InfrastructureError} NO_SPACE, TOOL_NOT_FOUND.
 */
export async function importFile(options: ImportOptions): Promise<void> {
  const { name, dir, format, report, signal } = options
  const onAmount = (amount: string) => report('unpacking', amount)
  let { path, isOurs } = options
  for (let layer = 0; layer < MOST_LAYERS; layer++) {
    const content = await identifyFile(path, name)
    const isArchive = content.kind === 'tar' && format === undefined
    if (content.kind !== 'packed' && !isArchive) {
      await openDisk({ path, name, format, signal })
      const disk = join(dir, DISK_FILE)
      return isOurs ? await rename(path, disk) : await copySparse(path, disk, signal)
    }
    report('unpacking')
    const to = join(dir, `layer-${layer}`)
    if (content.kind === 'packed') {
      await unpackFile({ from: path, to, packing: content.packing, onAmount, signal })
    } else await unpackArchive(path, name, to, signal)
    if (isOurs) await rm(path)
    path = to
    isOurs = true
  }
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${name} is packed again and again.`,
    expected: `a disk image, packed no more than ${MOST_LAYERS - 1} times`,
    got: 'one that is packed more often',
    hint: 'Unpack it, and give the path of what was in it.',
  })
}

async function unpackArchive(
  path: string,
  name: string,
  to: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const archive = await open(path, 'r')
  try {
    const entries: TarEntry[] = []
    for await (const entry of readTar(archive, name)) entries.push(entry)
    if (entries.some(isDescriptor)) return await extractOvaDisk({ archive, name, entries, to, signal })
  } finally {
    await archive.close()
  }
  throw vmError('IMAGE_INVALID', {
    summary: `The archive ${name} has nothing in it that could be booted.`,
    expected: 'an .ova: a tar archive with a file *.ovf',
    got: 'a tar archive without one',
    hint: 'Unpack it, and give the path of the disk in it.',
  })
}
