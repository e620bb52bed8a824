import { createHash } from 'node:crypto'
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { OpenFolder } from '../common/files/open-folder.js'
import type { LockWait } from '../common/locks/folder-lock.js'
import { keepTouched } from '../common/locks/heartbeat.js'
import { toDiskError } from '../common/process/run-tool.js'
import { vmError } from '../errors.js'
import { newBuildPath, sweepBuilds, takeEntryLock } from './entry-lock.js'
import { type CacheFolder, isWhole, readEntrySums, renameFlushed, writeManifest } from './entry-manifest.js'

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
  readonly onWait?: LockWait['onWait']
}

/**
 * Returns the directory of a finished entry, and builds it first if there is none or one of its files is not as it was built. One
 * builder works at a time, also among the containers and hosts that share the cache; the remains of a killed builder are removed by the next.
 * An entry that is whole is never replaced: guests may use it.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full; CACHE_READ_ONLY when nothing can be written to the cache; and whatever
 *   `build` throws.
 */
export async function openCacheEntry(options: CacheEntryOptions): Promise<string> {
  const { cacheDir, sharedCacheDir, name, inputs, folder = 'images', signal, onWait } = options
  const root = join(cacheDir, folder)
  const entry = nameEntry(name, inputs)
  const dir = join(root, entry)
  sweepOnce(root)
  if (sharedCacheDir !== undefined) {
    const shared = join(sharedCacheDir, folder, entry)
    if (await isWhole(shared, folder, root)) return shared
  }
  if (await isWhole(dir, folder, root)) return dir
  try {
    await makeRoot(root, folder)
    const lock = await takeEntryLock(root, entry, { signal, onWait })
    try {
      if (await isWhole(dir, folder, root)) return dir
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

const swept = new Set<string>()

/** Removes what dead builders left, once in a process: a template that was being saved has the RAM of a guest. */
function sweepOnce(root: string): void {
  if (swept.has(root)) return
  swept.add(root)
  void sweepBuilds(root)
}

/** Templates have the RAM of guests, and with it their secrets. */
async function makeRoot(root: string, folder: CacheFolder): Promise<void> {
  await mkdir(root, { recursive: true, mode: folder === 'templates' ? 0o700 : 0o777 })
  if (folder !== 'templates') return
  const { mode, uid } = await stat(root)
  // Another user's QEMU has to pass through.
  if (uid === process.geteuid?.() && (mode & 0o066) !== 0) await chmod(root, mode & 0o711)
}

function toCacheError(error: unknown, name: string, root: string): unknown {
  const { code, message, path } = error as NodeJS.ErrnoException
  const isRefused = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code ?? '')
  if (!isRefused || !(root.startsWith(`${path}`) || path?.startsWith(root))) {
    return toDiskError(error, `building ${name} in ${root}`)
  }
  return vmError('CACHE_READ_ONLY', {
    summary: `'${name}' cannot be stored: nothing can be written to ${root}.`,
    got: message,
    hint: 'Point WITHVM_CACHE at a folder that this user may write to.',
    cause: error,
  })
}

/** Changes with the content of a finished entry of `images`. */
export async function readEntryIdentity(dir: string): Promise<string> {
  return hashInputs(await readEntrySums(dir))
}

/** The name of the entry's directory. */
export function nameEntry(name: string, inputs: unknown): string {
  return `${name}-${hashInputs(inputs)}`
}

/** The first 16 hexadecimal digits of the sha256 of the inputs. */
export function hashInputs(inputs: unknown): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16)
}

async function buildEntry(root: string, entry: string, options: CacheEntryOptions): Promise<void> {
  const { folder = 'images', build, signal, origin } = options
  const building = newBuildPath(root, entry)
  await mkdir(building, { mode: folder === 'templates' ? 0o700 : 0o777 })
  try {
    await whileTouched(building, async () => {
      await build(building)
      signal?.throwIfAborted()
      await writeManifest(building, folder, origin)
      await publish({ root, entry, building, folder })
    })
  } catch (error) {
    // Another host or container may have been faster after all: its entry is as good.
    if (!(await isWhole(join(root, entry), folder, root))) throw error
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

/** Others remove a build that is not touched. */
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

/** Brings what was built to its place, unless another builder has put a whole entry there: guests may use it already. */
async function publish({ root, entry, building, folder }: Build): Promise<void> {
  const dir = join(root, entry)
  for (;;) {
    if (await isWhole(dir, folder, root)) return
    try {
      return await renameFlushed(building, dir)
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
    await moveAside({ root, entry, folder })
  }
}

/** Removes an entry that is not whole. It is looked at once more where nobody finds it: it may have become whole in between. */
async function moveAside({ root, entry, folder }: Omit<Build, 'building'>): Promise<void> {
  const [dir, aside] = [join(root, entry), newBuildPath(root, entry)]
  try {
    await rename(dir, aside)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    // A folder of a lower layer of overlayfs, as of a container's image, cannot be renamed.
    if (code !== 'EXDEV') throw error
    return await rm(dir, { recursive: true, force: true })
  }
  if (await isWhole(aside, folder, root)) {
    const isBack = await rename(aside, dir).then(
      () => true,
      () => false, // then another has come
    )
    if (isBack) return
  }
  await rm(aside, { recursive: true, force: true })
}
