import { createHash } from 'node:crypto'
import { chmod, lstat, mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { OpenFolder } from '../common/files/open-folder.js'
import type { LockWait } from '../common/locks/folder-lock.js'
import { keepTouched } from '../common/locks/heartbeat.js'
import { toDiskError } from '../common/process/run-tool.js'
import { vmError } from '../errors.js'
import { newBuildPath, sweepBuilds, takeEntryLock } from './entry-lock.js'
import {
  type CacheFolder,
  isComplete,
  type LayerRecord,
  readEntrySums,
  renameFlushed,
  writeManifest,
} from './entry-manifest.js'
import { sweepMarkers } from './entry-store.js'

export interface CacheEntryOptions {
  readonly cacheDir: string
  /** Folder of the cache that contains the entry. @default 'images' */
  readonly folder?: CacheFolder
  /** First part of the entry's name, for example `tiny`. */
  readonly name: string
  /** Everything that the content depends on, as JSON. Different inputs are different entries. */
  readonly inputs: unknown
  /** Origin of the content, for users. @default the name */
  readonly origin?: string | undefined
  /** Set if the entry is a layer of a defined image. @default none */
  readonly layer?: LayerRecord | undefined
  /** Read-only cache that is searched first for a complete entry. @default none */
  readonly sharedCacheDir?: string | undefined
  /** Fills the directory. The directory is removed if this rejects or the process dies. */
  readonly build: (dir: string) => Promise<void>
  readonly signal?: AbortSignal | undefined
  /** Called once if another process is building this entry. */
  readonly onWait?: LockWait['onWait']
  /**
   * Builds the entry in another process; called for a missing entry, without its lock. If the entry
   * is still missing then, it is built in this process.
   */
  readonly buildElsewhere?: ((entry: MissingEntry) => Promise<void>) | undefined
}

/** Entry of the cache that must be built. */
export interface MissingEntry {
  /** Folder of the entries, which exists. */
  readonly root: string
  /** Name of the entry. */
  readonly name: string
  /** Returns true if the entry has been completed by another process since the last call. */
  readonly isPublished: () => Promise<boolean>
}

/**
 * Returns the directory of a complete entry. Builds the entry first if it is missing or one of its
 * files was changed. One builder works at a time, also among containers and hosts that share the
 * cache. The remains of a killed builder are removed by the next. A complete entry is never
 * replaced, because guests may use it.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full; CACHE_READ_ONLY when the cache is
 *   not writable; and errors of `build`.
 */
export async function openCacheEntry(options: CacheEntryOptions): Promise<string> {
  const { cacheDir, sharedCacheDir, name, inputs, folder = 'images', signal, onWait } = options
  const root = join(cacheDir, folder)
  const entry = nameEntry(name, inputs)
  const dir = join(root, entry)
  sweepBuildsOnce(root)
  if (sharedCacheDir !== undefined) {
    const shared = join(sharedCacheDir, folder, entry)
    if (await isComplete(shared, folder, root)) return shared
  }
  if (await isComplete(dir, folder, root)) return dir
  try {
    await makeRoot(root, folder)
    const isPublished = onceReplaced(dir, () => isComplete(dir, folder, root))
    await options.buildElsewhere?.({ root, name: entry, isPublished })
    if (options.buildElsewhere !== undefined && (await isComplete(dir, folder, root))) return dir
    const lock = await takeEntryLock(root, entry, { signal, onWait, isComplete: isPublished })
    if (lock === undefined) return dir
    try {
      if (await isComplete(dir, folder, root)) return dir
      await sweepBuilds(root)
      await buildEntry(root, entry, options)
      return dir
    } finally {
      await lock.release()
    }
  } catch (error) {
    throw toCacheError(error, name, root)
  }
}

/**
 * Returns a function that runs `check` only if `dir` was replaced since the last call, because
 * checking a damaged entry reads all of its files.
 */
function onceReplaced(dir: string, check: () => Promise<boolean>): () => Promise<boolean> {
  const identify = () =>
    lstat(dir).then(
      ({ ino, ctimeMs }) => `${ino} ${ctimeMs}`,
      () => undefined,
    )
  let known: string | undefined
  return async () => {
    const found = await identify()
    if (found === known) return false
    known = found
    return check()
  }
}

const swept = new Set<string>()

/**
 * Removes the remains of dead builders, once in a process: an unfinished template contains the RAM
 * of a guest.
 */
function sweepBuildsOnce(root: string): void {
  if (swept.has(root)) return
  swept.add(root)
  void sweepBuilds(root)
  sweepMarkers(root).catch(() => {}) // a cache that does not exist yet
}

/**
 * Creates the folder. Templates contain the RAM of guests and therefore their secrets, so their
 * folder is private.
 */
async function makeRoot(root: string, folder: CacheFolder): Promise<void> {
  await mkdir(root, { recursive: true, mode: folder === 'templates' ? 0o700 : 0o777 })
  if (folder !== 'templates') return
  const { mode, uid } = await stat(root)
  // The QEMU of another user must be able to enter it.
  if (uid === process.geteuid?.() && (mode & 0o066) !== 0) await chmod(root, mode & 0o711)
}

function toCacheError(error: unknown, name: string, root: string): unknown {
  const { code, message, path } = error as NodeJS.ErrnoException
  const isRefused = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code ?? '')
  if (!isRefused || !(root.startsWith(`${path}`) || path?.startsWith(root))) {
    return toDiskError(error, `building ${name} in ${root}`)
  }
  return vmError('CACHE_READ_ONLY', {
    summary: `'${name}' cannot be stored: ${root} is not writable.`,
    got: message,
    hint: 'Set WITHVM_CACHE to a folder that this user can write to.',
    cause: error,
  })
}

/** Returns a digest that changes with the content of a complete entry of `images`. */
export async function readEntryFingerprint(dir: string): Promise<string> {
  return hashInputs(await readEntrySums(dir))
}

/** Returns the name of the entry's directory. */
export function nameEntry(name: string, inputs: unknown): string {
  return `${name}-${hashInputs(inputs)}`
}

/** Returns the first 16 hexadecimal digits of the SHA-256 of the inputs. */
export function hashInputs(inputs: unknown): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16)
}

async function buildEntry(root: string, entry: string, options: CacheEntryOptions): Promise<void> {
  const { folder = 'images', build, signal, origin, layer } = options
  const startedAt = performance.now()
  const building = newBuildPath(root, entry)
  await mkdir(building, { mode: folder === 'templates' ? 0o700 : 0o777 })
  try {
    await whileTouched(building, async () => {
      await build(building)
      signal?.throwIfAborted()
      const buildMs = Math.round(performance.now() - startedAt)
      const builtAt = new Date().toISOString()
      await writeManifest(building, folder, { origin, layer, buildMs, builtAt })
      await publish({ root, entry, building, folder })
    })
  } catch (error) {
    // Another host or container may have been faster: its entry is equivalent.
    if (!(await isComplete(join(root, entry), folder, root))) throw error
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

/** Touches a build while it runs, because other processes remove an untouched build. */
async function whileTouched(building: string, work: () => Promise<void>): Promise<void> {
  const folder = OpenFolder.open(building)
  const heartbeat = keepTouched(() => folder.touch())
  try {
    await work()
  } finally {
    heartbeat.stop()
    await folder.close()
  }
}

interface Build {
  readonly root: string
  readonly entry: string
  readonly building: string
  readonly folder: CacheFolder
}

/**
 * Renames a finished build to its entry, unless another builder has published a complete entry:
 * guests may already use it.
 */
async function publish({ root, entry, building, folder }: Build): Promise<void> {
  const dir = join(root, entry)
  for (;;) {
    if (await isComplete(dir, folder, root)) return
    try {
      return await renameFlushed(building, dir)
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
    await moveAside({ root, entry, folder })
  }
}

/**
 * Removes an incomplete entry. The renamed entry is checked once more, because it may have become
 * complete in between.
 */
async function moveAside({ root, entry, folder }: Omit<Build, 'building'>): Promise<void> {
  const [dir, renamed] = [join(root, entry), newBuildPath(root, entry)]
  try {
    await rename(dir, renamed)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    // overlayfs cannot rename a folder of a lower layer, as in a container's image.
    if (code !== 'EXDEV') throw error
    return await rm(dir, { recursive: true, force: true })
  }
  if (await isComplete(renamed, folder, root)) {
    const isRestored = await rename(renamed, dir).then(
      () => true,
      () => false, // another entry has taken the name
    )
    if (isRestored) return
  }
  await rm(renamed, { recursive: true, force: true })
}
