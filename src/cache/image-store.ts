import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isOpenToOthers } from '../common/files/open-to-others.js'
import type { LockWait } from '../common/locks/folder-lock.js'
import { processScope } from '../common/locks/process-identity.js'
import { nearestNames } from '../common/nearest-name.js'
import { formatBytes, GIB, parseMemorySize } from '../common/units.js'
import { vmError } from '../errors.js'
import { type CacheEntryOptions, nameEntry, openCacheEntry } from './cache.js'
import { tryEntryLock } from './entry-lock.js'
import { type EntryRecord, type LayerRecord, readEntryRecord } from './entry-manifest.js'
import {
  type EntryInfo,
  isBelow,
  listEntries,
  markEntryUsed,
  pruneEntries,
  removeEntries,
} from './entry-store.js'

/** Maximum size of all images of this user's cache, unless `WITHVM_IMAGES_SIZE` is set. */
const DEFAULT_MAX_BYTES = 32 * GIB
/** Time for which an unfinished download is kept to be continued. */
const PARTIAL_TTL_MS = 7 * 24 * 60 * 60 * 1000
const PARTIAL = '.partial-'

/** Image in the cache. */
export interface ImageInfo extends EntryInfo, EntryRecord {
  /** Origin: name of a recipe or of a defined image, URL or path. */
  readonly origin: string
}

/** Caches of a process. */
export interface ImageCaches {
  readonly cacheDir: string
  /** Read-only cache that is searched first. */
  readonly sharedCacheDir: string | undefined
}

export interface StoredImageOptions extends ImageCaches {
  readonly name: string
  readonly inputs: unknown
  readonly origin: string
  /** Set if the image is a layer of a defined image. @default none */
  readonly layer?: LayerRecord | undefined
  /** @param partial file next to the entry for a slow download; it survives a failed build. */
  readonly build: (dir: string, partial: string) => Promise<void>
  readonly onWait: LockWait['onWait']
  readonly buildElsewhere?: CacheEntryOptions['buildElsewhere']
  /** Receives a message when the images exceed their limit and none is removed. */
  readonly onExcess: (text: string) => void
  readonly signal?: AbortSignal | undefined
}

export function imagesDir({ cacheDir }: Pick<ImageCaches, 'cacheDir'>): string {
  return join(cacheDir, 'images')
}

/**
 * Returns the directory of an image of the cache, building it first if necessary. The image stays
 * as long as this process runs. Others are evicted for a new one, unless other users can read the
 * cache: their use of images is not visible.
 *
 * @throws errors of {@link openCacheEntry}.
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
  if (isNew) await evictOthers(options, entry)
  return dir
}

async function evictOthers(options: StoredImageOptions, keep: string): Promise<void> {
  const images = imagesDir(options)
  if (!isOpenToOthers(images)) {
    await pruneImages(options, { keep }).catch(() => {}) // an image of another user
    return
  }
  const entries = await listEntries(images)
  const bytes = entries.reduce((total, entry) => total + entry.bytes, 0)
  if (bytes > readMaxBytes()) {
    options.onExcess(
      `${images} contains ${formatBytes(bytes)} of images, more than ${formatBytes(readMaxBytes())}. Other users can read it, so images are removed only by \`withvm images prune\``,
    )
  }
}

/** Returns all images of this user's cache, the most recently used first. */
export async function listImages(caches: ImageCaches): Promise<ImageInfo[]> {
  const images = imagesDir(caches)
  const entries = await listEntries(images)
  return Promise.all(
    entries.map(async (entry) => ({
      origin: '-',
      ...(await readEntryRecord(join(images, entry.name)).catch(() => undefined)),
      ...entry,
    })),
  )
}

/**
 * Removes images, the layers on top of them, and layers below that no other image needs.
 *
 * @returns the names of the removed images.
 * @throws {UsageError} IMAGE_NOT_FOUND when a name is unknown; nothing is removed then.
 * @throws {InfrastructureError} IMAGE_IN_USE when a running process uses an image; the others are
 *   removed.
 */
export async function removeImages(names: readonly string[], caches: ImageCaches): Promise<string[]> {
  const images = imagesDir(caches)
  const entries = await listImages(caches)
  const known = entries.map(({ name }) => name)
  for (const name of names) if (!known.includes(name)) throw unknownImageError(name, known)
  const removed: string[] = []
  const kept = new Set<string>()
  /** Returns true if the entry is removed now. */
  const visited = new Set<ImageInfo>() // a damaged cache may name layers in a circle
  const remove = async (entry: ImageInfo): Promise<boolean> => {
    if (visited.has(entry)) return false
    visited.add(entry)
    for (const upper of entries.filter(({ below }) => below === entry.name)) await remove(upper)
    if (isBelow(entry.name, entries) || (await removeEntries(images, [entry.name])).length > 0) {
      kept.add(entry.name)
      return false
    }
    entries.splice(entries.indexOf(entry), 1)
    removed.push(entry.name)
    return true
  }
  for (const name of names) {
    let entry = entries.find((image) => image.name === name)
    while (entry !== undefined && (await remove(entry))) entry = findUnneededBelow(entry, entries)
  }
  if (kept.size > 0) throw imageInUseError([...kept])
  return removed
}

/** Returns the layer below a removed one, unless it is in use or another image needs it. */
function findUnneededBelow(
  { below, layer }: ImageInfo,
  entries: readonly ImageInfo[],
): ImageInfo | undefined {
  const lower = entries.find(({ name }) => name === below)
  const isOwn = lower?.layer !== undefined && lower.layer.image === layer?.image
  return isOwn && !lower.isInUse && !isBelow(lower.name, entries) ? lower : undefined
}

/**
 * Removes the least recently used images until the others take no more than `maxBytes`, and
 * downloads unfinished for a week. `maxBytes: 0` removes everything not in use.
 * @returns the names of the removed images.
 */
export async function pruneImages(
  caches: ImageCaches,
  { maxBytes = readMaxBytes(), keep }: { readonly maxBytes?: number; readonly keep?: string } = {},
): Promise<string[]> {
  const images = imagesDir(caches)
  await sweepPartials(images, maxBytes === 0 ? 0 : PARTIAL_TTL_MS)
  return pruneEntries(images, { maxBytes, keep })
}

function readMaxBytes(): number {
  return parseMemorySize(process.env.WITHVM_IMAGES_SIZE) ?? DEFAULT_MAX_BYTES
}

/** Removes unfinished downloads. Those of another host or container are kept for a week. */
async function sweepPartials(images: string, minAgeMs: number): Promise<void> {
  for (const file of await readdir(images).catch(() => [])) {
    if (!file.startsWith(PARTIAL)) continue
    const [scope = '', ...rest] = file.slice(PARTIAL.length).split('-')
    const path = join(images, file)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    const isLocal = scope === processScope()
    if (Date.now() - mtimeMs < (isLocal ? minAgeMs : PARTIAL_TTL_MS)) continue
    const lock = await tryEntryLock(images, rest.join('-'))
    if (lock === undefined) continue
    await rm(path, { force: true })
    await lock.release()
  }
}

export function unknownImageError(name: string, known: readonly string[]) {
  const near = nearestNames(name, known)
  return vmError('IMAGE_NOT_FOUND', {
    summary: `The cache has no image '${name}'.`,
    expected: (near.length > 0 ? near : known).join(' or ') || '(the cache contains no images)',
    got: `'${name}'`,
    hint: 'Run `withvm images ls` to list the images.',
  })
}

function imageInUseError(names: readonly string[]) {
  return vmError('IMAGE_IN_USE', {
    summary: `Images in use by a running process: ${names.map((name) => `'${name}'`).join(', ')}.`,
    hint: 'Wait until the process that uses the image has exited, then retry (`withvm ps` lists running guests).',
  })
}
