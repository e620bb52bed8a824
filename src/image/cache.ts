import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { findLockRealm, type ProcessLock, takeProcessLock, tryProcessLock } from '../common/process-lock.js'
import { vmError } from '../errors.js'
import { toDiskError } from './run-tool.js'

export interface CacheEntryOptions {
  readonly cacheDir: string
  /** The folder of the cache that the entry is in. @default 'images' */
  readonly folder?: CacheFolder
  /** The first part of the entry's name, as `tiny`. */
  readonly name: string
  /** Everything that the content depends on, as JSON can write it: another value is another entry. */
  readonly inputs: unknown
  /** Where the content comes from, for people. @default the name */
  readonly origin?: string | undefined
  /** Another cache, which is only read: an entry that is whole there is taken from there. @default none */
  readonly sharedCacheDir?: string | undefined
  /** Fills the directory. It is thrown away if this rejects or the process dies. */
  readonly build: (dir: string) => Promise<void>
  readonly signal?: AbortSignal | undefined
  /** Called once if another process is building this entry. */
  readonly onWait?: () => void
}

interface FileRecord {
  readonly bytes: number
  /** Of files that are read whole within a moment: bigger ones have none in `templates`. */
  readonly sha256?: string | undefined
  /** When the file was last changed, by the file system's own account: nothing that writes to it can hide. */
  readonly changedNs: string
}

interface Manifest {
  readonly origin?: string | undefined
  readonly files: Readonly<Record<string, FileRecord>>
}

const MANIFEST = 'manifest.json'
/** What is hashed each time that an entry of `templates` is opened takes a few milliseconds. */
const SMALL_BYTES = 4 * 1024 ** 2

type CacheFolder = 'images' | 'templates'

/**
 * Gives the directory of a finished entry, and builds it first if there is none or one of its files has not
 * the size it was built with. One builder works at a time; a killed builder's remains are removed by the next.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full, and whatever `build` throws.
 */
export async function openCacheEntry(options: CacheEntryOptions): Promise<string> {
  const { cacheDir, sharedCacheDir, name, inputs, folder = 'images' } = options
  const images = join(cacheDir, folder)
  const entry = nameEntry(name, inputs)
  const dir = join(images, entry)
  if (sharedCacheDir !== undefined) {
    const shared = join(sharedCacheDir, folder, entry)
    if (await isWhole(shared, folder)) return shared
  }
  if (await isWhole(dir, folder)) return dir
  const lock = await takeProcessLock(lockName(images, entry), {
    signal: options.signal,
    onWait: options.onWait,
  })
  try {
    if (await isWhole(dir, folder)) return dir
    await mkdir(images, { recursive: true })
    await sweepBuilds(images, entry)
    await buildEntry(images, entry, options)
    return dir
  } catch (error) {
    throw toCacheError(error, name, images)
  } finally {
    await lock.release()
  }
}

function toCacheError(error: unknown, name: string, images: string): unknown {
  const { code, message, path } = error as NodeJS.ErrnoException
  const isRefused = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR'].includes(code ?? '')
  if (!isRefused || !(images.startsWith(`${path}`) || path?.startsWith(images))) {
    return toDiskError(error, `building the image ${name} in ${images}`)
  }
  return vmError('IMAGE_BUILD_FAILED', {
    summary: `The image ${name} cannot be built: nothing can be written to ${images}.`,
    got: message,
    hint: 'Point WITHVM_CACHE at a folder that this user may write to.',
    cause: error,
  })
}

/** Where a finished entry comes from, as it was told when it was made. Undefined where nothing was. */
export async function readEntryOrigin(dir: string): Promise<string | undefined> {
  return (JSON.parse(await readFile(join(dir, MANIFEST), 'utf8')) as Manifest).origin
}

/** Changes with the content of a finished entry of `images`. */
export async function readEntryIdentity(dir: string): Promise<string> {
  const { files } = JSON.parse(await readFile(join(dir, MANIFEST), 'utf8')) as Manifest
  return hashInputs(Object.entries(files).map(([file, { sha256 }]) => [file, sha256]))
}

const FOREIGN_BUILD_MS = 60 * 60 * 1000

/** The name of the entry's directory. */
export function nameEntry(name: string, inputs: unknown): string {
  return `${name}-${hashInputs(inputs)}`
}

/** The first 16 hexadecimal digits of the sha256 of the inputs. */
export function hashInputs(inputs: unknown): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16)
}

async function buildEntry(images: string, entry: string, options: CacheEntryOptions): Promise<void> {
  const building = join(images, `.build-${findLockRealm()}-${entry}-${process.pid}-${Date.now()}`)
  await mkdir(building)
  try {
    await options.build(building)
    options.signal?.throwIfAborted()
    await writeManifest(building, options)
    await rm(join(images, entry), { recursive: true, force: true })
    await rename(building, join(images, entry))
  } catch (error) {
    // Where containers share a cache, another may have been faster: its entry is as good.
    if (!(await isWhole(join(images, entry), options.folder ?? 'images'))) throw error
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

/**
 * Removes what killed builders left. A build of another entry is left alone while its builder holds its
 * lock; this entry's lock is ours, so what lies here of it is dead. Of a container whose locks cannot be seen
 * from here, only what is older than any build takes.
 */
async function sweepBuilds(images: string, own: string): Promise<void> {
  for (const file of await readdir(images)) {
    const [, realm, entry, startedAt] = /^\.build-([0-9a-f]{6})-(.+)-\d+-(\d+)$/.exec(file) ?? []
    if (entry === undefined) continue
    if (realm !== findLockRealm()) {
      if (Number(startedAt) < Date.now() - FOREIGN_BUILD_MS) {
        await rm(join(images, file), { recursive: true, force: true })
      }
      continue
    }
    const lock: ProcessLock | undefined =
      entry === own ? { release: async () => {} } : await tryEntryLock(images, entry)
    if (lock === undefined) continue
    try {
      await rm(join(images, file), { recursive: true, force: true })
    } finally {
      await lock.release()
    }
  }
}

/**
 * Takes the lock of an entry of `images` if nobody builds it: what its builders have left beside it is then nobody's.
 */
export function tryEntryLock(images: string, entry: string): Promise<ProcessLock | undefined> {
  return tryProcessLock(lockName(images, entry))
}

/** Two caches may hold the same entry: the lock is of this directory's. */
function lockName(images: string, entry: string): string {
  return `image-${hashInputs([resolve(images), entry])}`
}

/** Whether an entry has all of its files as they were built. What is on this host for good is looked at more closely. */
async function isWhole(dir: string, folder: CacheFolder): Promise<boolean> {
  try {
    const manifest = JSON.parse(await readFile(join(dir, MANIFEST), 'utf8')) as Manifest
    const checks = Object.entries(manifest.files).map(async ([file, record]) => {
      const path = join(dir, file)
      const found = await stat(path, { bigint: true })
      if (!found.isFile() || Number(found.size) !== record.bytes) return false
      if (folder === 'images') return true
      if (String(found.ctimeNs) !== record.changedNs) return false
      return record.bytes > SMALL_BYTES || (await hashFile(path)) === record.sha256
    })
    return (await Promise.all(checks)).every(Boolean)
  } catch {
    return false
  }
}

async function writeManifest(
  dir: string,
  { folder = 'images', origin }: Pick<CacheEntryOptions, 'folder' | 'origin'>,
): Promise<void> {
  const files: Record<string, FileRecord> = {}
  for (const file of await listFiles(dir)) {
    const { size, ctimeNs } = await stat(file, { bigint: true })
    const isHashed = folder === 'images' || Number(size) <= SMALL_BYTES
    files[relative(dir, file)] = {
      bytes: Number(size),
      sha256: isHashed ? await hashFile(file) : undefined,
      changedNs: String(ctimeNs),
    }
    if (isHashed) await syncFile(file)
  }
  const path = join(dir, MANIFEST)
  await writeFile(path, `${JSON.stringify({ origin, files } satisfies Manifest, undefined, 2)}\n`)
  await syncFile(path)
}

/** A power cut after the rename must not leave an entry whose sizes are right and whose blocks are not. */
async function syncFile(path: string): Promise<void> {
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
