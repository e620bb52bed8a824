import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { findLockRealm, type ProcessLock, takeProcessLock, tryProcessLock } from '../common/process-lock.js'
import { vmError } from '../errors.js'
import { toDiskError } from './run-tool.js'

export interface CacheEntryOptions {
  readonly cacheDir: string
  /** The first part of the entry's name, as `tiny`. */
  readonly name: string
  /** Everything that the content depends on, as JSON can write it: another value is another entry. */
  readonly inputs: unknown
  /** Fills the directory. It is thrown away if this rejects or the process dies. */
  readonly build: (dir: string) => Promise<void>
  readonly signal?: AbortSignal | undefined
  /** Called once if another process is building this entry. */
  readonly onWait?: () => void
}

interface Manifest {
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>
}

const MANIFEST = 'manifest.json'

/**
 * Gives the directory of a finished entry, and builds it first if there is none or one of its files has not
 * the size it was built with. One builder works at a time; a killed builder's remains are removed by the next.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full, and whatever `build` throws.
 */
export async function openCacheEntry(options: CacheEntryOptions): Promise<string> {
  const { cacheDir, name, inputs } = options
  const images = join(cacheDir, 'images')
  const entry = `${name}-${hashInputs(inputs)}`
  const dir = join(images, entry)
  if (await isWhole(dir)) return dir
  const lock = await takeProcessLock(lockName(images, entry), {
    signal: options.signal,
    onWait: options.onWait,
  })
  try {
    if (await isWhole(dir)) return dir
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

const FOREIGN_BUILD_MS = 60 * 60 * 1000

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
    await writeManifest(building)
    await rm(join(images, entry), { recursive: true, force: true })
    await rename(building, join(images, entry))
  } catch (error) {
    // Where containers share a cache, another may have been faster: its entry is as good.
    if (!(await isWhole(join(images, entry)))) throw error
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
      entry === own ? { release: async () => {} } : await tryProcessLock(lockName(images, entry))
    if (lock === undefined) continue
    try {
      await rm(join(images, file), { recursive: true, force: true })
    } finally {
      await lock.release()
    }
  }
}

/** Two caches may hold the same entry: the lock is of this directory's. */
function lockName(images: string, entry: string): string {
  return `image-${hashInputs([resolve(images), entry])}`
}

async function isWhole(dir: string): Promise<boolean> {
  try {
    const manifest = JSON.parse(await readFile(join(dir, MANIFEST), 'utf8')) as Manifest
    const checks = Object.entries(manifest.files).map(async ([file, { bytes }]) => {
      const found = await stat(join(dir, file))
      return found.isFile() && found.size === bytes
    })
    return (await Promise.all(checks)).every(Boolean)
  } catch {
    return false
  }
}

async function writeManifest(dir: string): Promise<void> {
  const files: Record<string, { bytes: number; sha256: string }> = {}
  for (const file of await listFiles(dir)) {
    files[relative(dir, file)] = { bytes: (await stat(file)).size, sha256: await hashFile(file) }
    await syncFile(file)
  }
  const path = join(dir, MANIFEST)
  await writeFile(path, `${JSON.stringify({ files } satisfies Manifest, undefined, 2)}\n`)
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
