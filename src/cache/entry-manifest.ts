import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'

export type CacheFolder = 'images' | 'templates'

interface FileRecord {
  readonly bytes: number
  /** Of each file of an image, and of the small files of a template, which are read whole within a moment. */
  readonly sha256?: string | undefined
  /** When the file was last changed, by the file system's own account: nothing that writes to it can hide that. */
  readonly changedNs: string
}

interface Manifest {
  readonly origin?: string | undefined
  readonly files: Readonly<Record<string, FileRecord>>
}

const MANIFEST = 'manifest.json'
/** Next to the entries: of which entries the sums were found right after their files had been copied. */
const VERIFIED = '.verified'
/** Reading a file of this size each time that a template is opened takes a few milliseconds. */
const SMALL_BYTES = 4 * 1024 ** 2

/** Returns where a finished entry comes from, as noted when it was made. Undefined where nothing was noted. */
export async function readEntryOrigin(dir: string): Promise<string | undefined> {
  return (await readManifest(dir)).origin
}

/** Returns the sums of the files of a finished image, by their names. */
export async function readEntrySums(dir: string): Promise<Array<[string, string | undefined]>> {
  return Object.entries((await readManifest(dir)).files).map(([file, { sha256 }]) => [file, sha256])
}

/**
 * Notes what the files of an entry are, and flushes them: a power cut must not leave an entry whose sizes are right and whose blocks are not.
 * From then on the files of an image are read-only, and those of a template, which has the guest's RAM, for their owner alone.
 */
export async function writeManifest(
  dir: string,
  folder: CacheFolder,
  origin: string | undefined,
): Promise<void> {
  const files: Record<string, FileRecord> = {}
  for (const file of await listFiles(dir)) {
    await restrictAccess(file, folder)
    const { size, ctimeNs } = await lstat(file, { bigint: true })
    const isHashed = folder === 'images' || Number(size) <= SMALL_BYTES
    files[relative(dir, file)] = {
      bytes: Number(size),
      sha256: isHashed ? await hashFile(file) : undefined,
      changedNs: String(ctimeNs),
    }
    await flush(file)
  }
  const path = join(dir, MANIFEST)
  await writeFile(path, `${JSON.stringify({ origin, files } satisfies Manifest, undefined, 2)}\n`)
  await restrictAccess(path, folder)
  await flush(path)
  await flush(dir)
}

/** A file that the QEMU of another user has to open belongs to that user already, and to nobody else. */
async function restrictAccess(file: string, folder: CacheFolder): Promise<void> {
  const { mode, uid } = await lstat(file)
  if (uid !== process.geteuid?.()) return
  await chmod(file, folder === 'templates' ? 0o600 : mode & 0o555)
}

/**
 * Returns whether an entry has all of its files as they were built. A file that was changed since is looked at more closely: a copy
 * of a cache has other times, so an image whose sums are still right counts, once they were computed. A template does not.
 * @param verifiedDir the folder of the own cache in which that is noted.
 */
export async function isWhole(dir: string, folder: CacheFolder, verifiedDir: string): Promise<boolean> {
  try {
    const records = Object.entries((await readManifest(dir)).files)
    const stats = await Promise.all(records.map(([file]) => lstat(join(dir, file), { bigint: true })))
    const isAsBuilt = (index: number) => String(stats[index]?.ctimeNs) === records[index]?.[1].changedNs
    for (const [index, [, record]] of records.entries()) {
      const found = stats[index]
      if (found?.isFile() !== true || Number(found.size) !== record.bytes) return false
      if (folder === 'templates' && (!isAsBuilt(index) || (found.mode & 0o077n) !== 0n)) return false
    }
    if (folder === 'templates')
      return await haveSums(
        dir,
        records.filter(([, { bytes }]) => bytes <= SMALL_BYTES),
      )
    const changed = records.filter((_, index) => !isAsBuilt(index))
    if (changed.length === 0) return true
    const state = JSON.stringify([dir, ...stats.map(({ ino, ctimeNs }) => `${ino}.${ctimeNs}`)])
    return await isVerified(state, verifiedDir, () => haveSums(dir, changed))
  } catch {
    return false
  }
}

async function haveSums(dir: string, records: ReadonlyArray<[string, FileRecord]>): Promise<boolean> {
  const sums = await Promise.all(records.map(([file]) => hashFile(join(dir, file))))
  return sums.every((sum, index) => sum === records[index]?.[1].sha256)
}

const verified = new Set<string>()

/** Computes the sums once for each state of the files. */
async function isVerified(state: string, dir: string, verify: () => Promise<boolean>): Promise<boolean> {
  const name = createHash('sha256').update(state).digest('hex')
  const note = join(dir, VERIFIED, name)
  if (verified.has(name) || (await lstat(note).catch(() => undefined)) !== undefined) return true
  if (!(await verify())) return false
  verified.add(name)
  await mkdir(dirname(note), { recursive: true })
    .then(() => writeFile(note, ''))
    .catch(() => {}) // a cache that is only read: the next process computes them again
  return true
}

async function readManifest(dir: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(dir, MANIFEST), 'utf8')) as Manifest
}

/** Moves an entry to its place for good. */
export async function renameFlushed(from: string, to: string): Promise<void> {
  await rename(from, to)
  await flush(dirname(to))
}

async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function listFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

/** The sha256 of a file, in hexadecimal. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
