import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { MIB } from '../common/units.js'

export type CacheFolder = 'images' | 'templates'

interface FileRecord {
  readonly bytes: number
  /**
   * SHA-256 of each file of an image and of the small files of a template, which are read quickly.
   */
  readonly sha256?: string | undefined
  /** Change time of the file (ctime), which no write can hide. */
  readonly changedNs: string
}

/** Layer of a defined image: an overlay with the changes of one step. */
export interface LayerRecord {
  /** Name of the defined image. */
  readonly image: string
  /** Step that made the layer, for users: `files /etc/motd`. */
  readonly content: string
  /** Path of the disk below. */
  readonly below: string
}

/** Description of an entry, recorded when it is built. */
export interface EntryRecord {
  /** Origin of the content, for users. */
  readonly origin?: string | undefined
  /** Set if the entry is a layer of a defined image. */
  readonly layer?: LayerRecord | undefined
  /** Duration of the build, in milliseconds. */
  readonly buildMs?: number | undefined
  /** Time at which the build ended, ISO 8601. */
  readonly builtAt?: string | undefined
}

interface Manifest extends EntryRecord {
  readonly files: Readonly<Record<string, FileRecord>>
}

const MANIFEST = 'manifest.json'
/**
 * Folder next to the entries that records entries whose checksums were verified after they had been
 * copied.
 */
const VERIFIED = '.verified'
/**
 * Maximum size of small files: hashing one each time a template is opened takes a few milliseconds.
 */
const SMALL_BYTES = 4 * MIB

/** Returns the description of a complete entry, without values that were not recorded. */
export async function readEntryRecord(dir: string): Promise<EntryRecord> {
  const { files: _, ...record } = await readManifest(dir)
  return record
}

/** Returns the checksums of the files of a complete image, by name. */
export async function readEntrySums(dir: string): Promise<Array<[string, string | undefined]>> {
  return Object.entries((await readManifest(dir)).files).map(([file, { sha256 }]) => [file, sha256])
}

/**
 * Writes the manifest of an entry and flushes all files: a power cut must not leave an entry with
 * the right sizes and wrong content. Files of an image become read-only, those of a template, which
 * contain the guest's RAM, private to their owner.
 */
export async function writeManifest(dir: string, folder: CacheFolder, record: EntryRecord): Promise<void> {
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
  await writeFile(path, `${JSON.stringify({ ...record, files } satisfies Manifest, undefined, 2)}\n`)
  await restrictAccess(path, folder)
  await flush(path)
  await flush(dir)
}

/** A file for the QEMU of another user already belongs to that user and is private. */
async function restrictAccess(file: string, folder: CacheFolder): Promise<void> {
  const { mode, uid } = await lstat(file)
  if (uid !== process.geteuid?.()) return
  await chmod(file, folder === 'templates' ? 0o600 : mode & 0o555)
}

/**
 * Returns true if all files of an entry are unchanged since the build. A copied cache has other
 * change times, so an image is accepted after its checksums were verified once. A template is not.
 * @param verifiedDir folder of this user's cache that records the verification.
 */
export async function isComplete(dir: string, folder: CacheFolder, verifiedDir: string): Promise<boolean> {
  try {
    const records = Object.entries((await readManifest(dir)).files)
    const stats = await Promise.all(records.map(([file]) => lstat(join(dir, file), { bigint: true })))
    const isUnchanged = (index: number) => String(stats[index]?.ctimeNs) === records[index]?.[1].changedNs
    for (const [index, [, record]] of records.entries()) {
      const found = stats[index]
      if (found?.isFile() !== true || Number(found.size) !== record.bytes) return false
      if (folder === 'templates' && (!isUnchanged(index) || (found.mode & 0o077n) !== 0n)) return false
    }
    if (folder === 'templates')
      return await matchChecksums(
        dir,
        records.filter(([, { bytes }]) => bytes <= SMALL_BYTES),
      )
    const changed = records.filter((_, index) => !isUnchanged(index))
    if (changed.length === 0) return true
    const state = JSON.stringify([dir, ...stats.map(({ ino, ctimeNs }) => `${ino}.${ctimeNs}`)])
    return await isVerified(state, verifiedDir, () => matchChecksums(dir, changed))
  } catch {
    return false
  }
}

async function matchChecksums(dir: string, records: ReadonlyArray<[string, FileRecord]>): Promise<boolean> {
  const sums = await Promise.all(records.map(([file]) => hashFile(join(dir, file))))
  return sums.every((sum, index) => sum === records[index]?.[1].sha256)
}

const verified = new Set<string>()

/** Verifies the checksums once for each state of the files. */
async function isVerified(state: string, dir: string, verify: () => Promise<boolean>): Promise<boolean> {
  const name = createHash('sha256').update(state).digest('hex')
  const marker = join(dir, VERIFIED, name)
  if (verified.has(name) || (await lstat(marker).catch(() => undefined)) !== undefined) return true
  if (!(await verify())) return false
  verified.add(name)
  await mkdir(dirname(marker), { recursive: true })
    .then(() => writeFile(marker, ''))
    .catch(() => {}) // read-only cache: the next process verifies again
  return true
}

async function readManifest(dir: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(dir, MANIFEST), 'utf8')) as Manifest
}

/** Renames an entry and flushes the folder. */
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

/** Returns the SHA-256 of a file, in hexadecimal. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
