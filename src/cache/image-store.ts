import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isOpenToOthers } from '../common/files/open-to-others.js'
import type { LockWait } from '../common/locks/folder-lock.js'
import { processScope } from '../common/locks/process-identity.js'
import { nearestNames } from '../common/nearest-name.js'
import { formatBytes, parseMemorySize } from '../common/units.js'
import { vmError } from '../errors.js'
import { nameEntry, openCacheEntry } from './cache.js'
import { tryEntryLock } from './entry-lock.js'
import { readEntryOrigin } from './entry-manifest.js'
import { type EntryInfo, listEntries, markEntryUsed, pruneEntries, removeEntries } from './entry-store.js'

/** What all images of this user's cache may take on the disk, unless `WITHVM_IMAGES_SIZE` says otherwise. */
const DEFAULT_MOST_BYTES = 32 * 1024 ** 3
/** How long a download that was given up is kept for somebody to go on with it. */
const PARTIAL_MS = 7 * 24 * 60 * 60 * 1000
const PARTIAL = '.partial-'

/** An image of the cache. */
export interface ImageInfo extends EntryInfo {
  /** Where it comes from: a recipe's name, a URL, a path. */
  readonly origin: string
}

/** The caches of a process. */
export interface ImageCaches {
  readonly cacheDir: string
  /** Only read, and looked at first. */
  readonly sharedCacheDir: string | undefined
}

export interface StoredImageOptions extends ImageCaches {
  readonly name: string
  readonly inputs: unknown
  readonly origin: string
  /** @param partial a file beside the entry for what comes slowly: it is there still when a build is begun again. */
  readonly build: (dir: string, partial: string) => Promise<void>
  readonly onWait: LockWait['onWait']
  /** Receives a sentence when the images take more than they may and none is removed. */
  readonly onExcess: (text: string) => void
  readonly signal?: AbortSignal | undefined
}

export function imagesDir({ cacheDir }: Pick<ImageCaches, 'cacheDir'>): string {
  return join(cacheDir, 'images')
}

/**
 * Gives the directory of an image of the cache, made first if there is none. It stays as long as this process runs; others
 * make room for a new one, unless other users can read the cache: nobody sees which images their guests run from.
 *
 * @throws what {@link openCacheEntry} throws.
 */
export async function openStoredImage(options: StoredImageOptions): Promise<string> {
  const { name, inputs, build } = options
  const images = imagesDir(options)
  const entry = nameEntry(name, inputs)
  await markEntryUsed(images, entry)
  let isNew = false
  const dir = await openCacheEntry({
    ...options,
    build: async (building) => {
      await build(building, join(images, `${PARTIAL}${processScope()}-${entry}`))
      isNew = true
    },
  })
  if (isNew) await makeRoom(options, entry)
  return dir
}

async function makeRoom(options: StoredImageOptions, keep: string): Promise<void> {
  const images = imagesDir(options)
  if (!isOpenToOthers(images)) {
    await pruneImages(options, { keep }).catch(() => {}) // an image that another user left
    return
  }
  const entries = await listEntries(images)
  const bytes = entries.reduce((total, entry) => total + entry.bytes, 0)
  if (bytes > readMostBytes()) {
    options.onExcess(
      `${images} has ${formatBytes(bytes)} of images, more than ${formatBytes(readMostBytes())}. Other users can read it, so none is removed before \`withvm images prune\``,
    )
  }
}

/** All images of the cache that is written to, the one that was used last first. */
export async function listImages(caches: ImageCaches): Promise<ImageInfo[]> {
  const images = imagesDir(caches)
  const entries = await listEntries(images)
  return Promise.all(
    entries.map(async (entry) => ({
      ...entry,
      origin: (await readEntryOrigin(join(images, entry.name)).catch(() => undefined)) ?? '-',
    })),
  )
}

/**
 * Removes images.
 *
 * @throws {UsageError} IMAGE_NOT_FOUND when there is none of a name; nothing is removed then.
 * @throws {InfrastructureError} IMAGE_IN_USE when a running process uses one; the others are removed.
 */
export async function removeImages(names: readonly string[], caches: ImageCaches): Promise<void> {
  const images = imagesDir(caches)
  const known = (await listEntries(images)).map(({ name }) => name)
  for (const name of names) if (!known.includes(name)) throw unknown(name, known)
  const kept = await removeEntries(images, names)
  if (kept.length > 0) throw inUse(kept)
}

/**
 * Removes the images that were not used for longest, until the others take no more than `mostBytes`, and downloads that
 * nobody went on with for a week; with `mostBytes: 0` all that is not in use.
 * @returns the names of the images that were removed.
 */
export async function pruneImages(
  caches: ImageCaches,
  { mostBytes = readMostBytes(), keep }: { readonly mostBytes?: number; readonly keep?: string } = {},
): Promise<string[]> {
  const images = imagesDir(caches)
  await sweepPartials(images, mostBytes === 0 ? 0 : PARTIAL_MS)
  return pruneEntries(images, { mostBytes, keep })
}

function readMostBytes(): number {
  return parseMemorySize(process.env.WITHVM_IMAGES_SIZE) ?? DEFAULT_MOST_BYTES
}

/** A download of another host or container is left alone for a week. */
async function sweepPartials(images: string, leastAgeMs: number): Promise<void> {
  for (const file of await readdir(images).catch(() => [])) {
    if (!file.startsWith(PARTIAL)) continue
    const [scope = '', ...rest] = file.slice(PARTIAL.length).split('-')
    const path = join(images, file)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    const isOurs = scope === processScope()
    if (Date.now() - mtimeMs < (isOurs ? leastAgeMs : PARTIAL_MS)) continue
    const lock = await tryEntryLock(images, rest.join('-'))
    if (lock === undefined) continue
    await rm(path, { force: true })
    await lock.release()
  }
}

function unknown(name: string, known: readonly string[]) {
  const near = nearestNames(name, known)
  return vmError('IMAGE_NOT_FOUND', {
    summary: `There is no image '${name}' in the cache.`,
    expected: (near.length > 0 ? near : known).join(' or ') || '(there is none)',
    got: `'${name}'`,
    hint: '`withvm images ls` shows those that are there.',
  })
}

function inUse(names: readonly string[]) {
  return vmError('IMAGE_IN_USE', {
    summary: `A process that is running uses ${names.map((name) => `'${name}'`).join(', ')}.`,
    hint: 'wait until it has ended, and try again; `withvm ps` shows the guests that run.',
  })
}
