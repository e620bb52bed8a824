import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type EntryRecord, readEntryRecord } from './entry-manifest.js'
import { readEntryBytes } from './entry-store.js'
import { type ImageCaches, type ImageInfo, imagesDir, listImages, unknownImageError } from './image-store.js'

/** Layer of an image, or the image below all layers. */
export interface HistoryEntry {
  /** Name in the cache; for a file outside of the cache, its path. */
  readonly name: string
  /** Step that made the layer, or the origin of the image. */
  readonly content: string
  /** Space on the disk. */
  readonly bytes: number
  /** Duration of the build, in milliseconds. Undefined if it was not recorded. */
  readonly buildMs: number | undefined
  /** End of the build, ISO 8601. Undefined if it was not recorded. */
  readonly builtAt: string | undefined
}

/**
 * Returns the layers of a cached image, the uppermost first.
 *
 * @param name name of an entry of the cache, or of a defined image or recipe, whose most recently
 *   used entry is then described.
 * @throws {UsageError} IMAGE_NOT_FOUND when the cache has no such image.
 */
export async function readImageHistory(name: string, caches: ImageCaches): Promise<HistoryEntry[]> {
  const history: HistoryEntry[] = []
  let dir: string | undefined = await findEntry(name, caches)
  const visited = new Set<string>()
  while (dir !== undefined && !visited.has(dir)) {
    visited.add(dir)
    const record: EntryRecord = await readEntryRecord(dir)
    history.push(await describe(dir, record))
    const below = record.layer?.below
    dir = undefined
    if (below === undefined) break
    if (await isEntry(dirname(below))) dir = dirname(below)
    else history.push(await describeFile(below))
  }
  return history
}

/** Returns the folder of an image of this user's cache, or of the shared one. */
async function findEntry(name: string, { cacheDir, sharedCacheDir }: ImageCaches): Promise<string> {
  const known: string[] = []
  for (const dir of [cacheDir, sharedCacheDir]) {
    if (dir === undefined) continue
    const caches = { cacheDir: dir, sharedCacheDir: undefined }
    const images = await listImages(caches)
    const named = images.filter((image) => [image.name, stripHash(image.name)].includes(name))
    const found = named.find((image) => image.name === name || !isInnerLayer(image, images)) ?? named[0]
    if (found !== undefined) return join(imagesDir(caches), found.name)
    known.push(...images.flatMap((image) => [image.name, stripHash(image.name)]))
  }
  throw unknownImageError(name, [...new Set(known)])
}

function stripHash(entry: string): string {
  return entry.replace(/-[0-9a-f]{16}$/, '')
}

/**
 * Describes the origin of an image. A layer below another one of the same image shows its content.
 */
export function describeOrigin(image: ImageInfo, images: readonly ImageInfo[]): string {
  const { origin, layer } = image
  return layer !== undefined && isInnerLayer(image, images) ? `${origin}, layer ${layer.content}` : origin
}

/** Returns true if another layer of the same defined image is on top of an image. */
function isInnerLayer({ name, layer }: ImageInfo, images: readonly ImageInfo[]): boolean {
  return images.some((other) => other.below === name && other.layer?.image === layer?.image)
}

async function isEntry(dir: string): Promise<boolean> {
  return readEntryRecord(dir).then(
    () => true,
    () => false,
  )
}

async function describe(dir: string, record: EntryRecord): Promise<HistoryEntry> {
  const { layer, origin, buildMs, builtAt } = record
  const bytes = await readEntryBytes(dir)
  return { name: basename(dir), content: layer?.content ?? origin ?? '-', bytes, buildMs, builtAt }
}

/** Describes a disk outside of the cache, such as an image at a path. */
async function describeFile(path: string): Promise<HistoryEntry> {
  const bytes = await stat(path).then(
    ({ blocks }) => blocks * 512,
    () => 0,
  )
  return { name: path, content: 'image file', bytes, buildMs: undefined, builtAt: undefined }
}
