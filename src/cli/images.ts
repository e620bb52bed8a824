import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { RECIPES } from '../../images/recipes.js'
import { describeOrigin } from '../cache/image-history.js'
import { imagesDir, listImages, pruneImages, removeImages } from '../cache/image-store.js'
import { isOpenToOthers } from '../common/files/open-to-others.js'
import { logToStderr } from '../common/log.js'
import { nearestName } from '../common/nearest-name.js'
import { formatBytes } from '../common/units.js'
import { openDisk } from '../disk/backing-chain.js'
import { vmError } from '../errors.js'
import { resolveImage } from '../image/resolve-image.js'
import { readCaches } from '../image/stored-image.js'
import type { BaseImage } from '../spec/base-image.js'
import type { ImageSource } from '../spec/image-source.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import { awaitStaleUsers } from './await-users.js'
import { explainReadOnly } from './cache-errors.js'
import { formatEntries, type Json, type PruneFlags, printRemoved, pruneEntries } from './entry-list.js'
import { EXIT_CODES } from './exit-code.js'
import { type ImageFlags, readImageSource } from './image-flags.js'
import { printResult } from './json.js'
import { formatTable } from './table.js'

/** Runs `withvm images ls`: lists the cached images. */
export async function showImages(options: { readonly json: boolean }): Promise<number> {
  const images = await listImages(readCaches())
  const recipes = Object.keys(RECIPES).join(', ')
  const none = `No images are cached: an image is added on first use. Recipes: ${recipes}.`
  const marked = images.map((image) => ({ ...image, origin: describeOrigin(image, images) }))
  const text = images.length === 0 ? none : formatEntries(marked, 'images')
  printResult(images, { json: options.json, text })
  return EXIT_CODES.ok
}

/** Runs `withvm images build`: builds the image of a recipe unless it is cached. */
export async function buildImage(name: string, options: Json): Promise<number> {
  if (!Object.hasOwn(RECIPES, name)) throw noRecipeError(name)
  return printCacheEntry(await resolveImage(name), options)
}

/** Runs `withvm images pull`: downloads an image unless it is cached. */
export async function pullImage(url: string, flags: ImageFlags & Json): Promise<number> {
  if (!/^https?:/i.test(url)) {
    logToStderr(`\`withvm images pull\` requires an http: or https: URL, got '${url}'.`)
    return EXIT_CODES.usage
  }
  return printCacheEntry(await openImage(url, flags), flags)
}

/**
 * Runs `withvm images path`: prints the path of the disk of an image, built or downloaded first if
 * needed.
 */
export async function printPath(image: string, flags: ImageFlags): Promise<number> {
  const { disk, directBoot } = await openImage(image, flags)
  print(disk?.path ?? directBoot?.kernel ?? '')
  return EXIT_CODES.ok
}

/** Runs `withvm images inspect`: prints the disk, kernel, login and defaults of an image. */
export async function inspectImage(image: string, flags: ImageFlags & Json): Promise<number> {
  const report = await describeImage(await openImage(image, flags))
  printResult(report, { json: flags.json === true, text: formatReport(report) })
  return EXIT_CODES.ok
}

/** Runs `withvm images rm`. */
export async function deleteImages(names: readonly string[], options: Json): Promise<number> {
  const caches = readCaches()
  warnAboutReaders(imagesDir(caches))
  await awaitStaleUsers(imagesDir(caches), names)
  const removed = await explainReadOnly(imagesDir(caches), () => removeImages(names, caches))
  printRemoved(removed, options)
  return EXIT_CODES.ok
}

/** Runs `withvm images prune`. Without a size, removes all images that are not in use. */
export async function pruneCachedImages(options: PruneFlags): Promise<number> {
  const caches = readCaches()
  return pruneEntries(options, async (maxBytes) => {
    warnAboutReaders(imagesDir(caches))
    await awaitStaleUsers(imagesDir(caches))
    return explainReadOnly(imagesDir(caches), () => pruneImages(caches, { maxBytes }))
  })
}

function warnAboutReaders(images: string): void {
  if (!existsSync(images) || !isOpenToOthers(images)) return
  logToStderr(
    `${images} is readable for other users; images that only their guests use do not count as in use.`,
  )
}

function openImage(image: string, flags: ImageFlags): Promise<BaseImage> {
  const source: ImageSource = readImageSource(image, flags)
  const problems = findOptionProblems({ image: source })
  if (problems.length > 0) throw optionError(problems)
  return resolveImage(source)
}

function printCacheEntry({ name, disk }: BaseImage, { json = false }: Json): number {
  const entry = disk && basename(dirname(disk.path))
  const text = `${name} is cached${entry === undefined ? '' : ` as ${entry}`}.`
  printResult({ image: name, entry: entry ?? null, path: disk?.path ?? null }, { json, text })
  return EXIT_CODES.ok
}

type ImageReport = Awaited<ReturnType<typeof describeImage>>

async function describeImage({ name, disk, directBoot, traits, defaults }: BaseImage) {
  // resolveImage() has already checked the folders of the backing files.
  const opened = disk && (await openDisk({ ...disk, backingFolders: ['/'] }))
  return {
    name,
    disk:
      opened === undefined
        ? null
        : {
            path: opened.path,
            format: opened.format,
            virtualBytes: opened.virtualBytes,
            bytes: (await stat(opened.path)).blocks * 512,
            chain: opened.chain,
          },
    kernel: directBoot?.kernel ?? null,
    initrd: directBoot?.initrd ?? null,
    append: directBoot?.append.join(' ') ?? null,
    user: traits.sshUser,
    takesKey: traits.credentials !== 'none',
    hasAgent: traits.hasAgent,
    startsWarm: traits.identity !== undefined,
    memoryBytes: defaults.memoryBytes,
    cpus: defaults.cpus,
  }
}

function formatReport(report: ImageReport): string {
  const { disk, kernel, initrd, append } = report
  const rows: [string, string | null][] = [
    ['image', report.name],
    ['disk', disk?.path ?? null],
    ['format', disk?.format ?? null],
    ['size', disk && `${formatBytes(disk.virtualBytes)} virtual, ${formatBytes(disk.bytes)} allocated`],
    ...(disk?.chain ?? [])
      .slice(1)
      .map(({ path, format }): [string, string] => ['backed by', `${path} (${format})`]),
    ['kernel', kernel],
    ['initrd', initrd],
    ['append', append],
    ['login', report.takesKey ? `${report.user}, with a key injected at boot` : report.user],
    ['agent', report.hasAgent ? 'yes' : 'unknown'],
    ['start', report.startsWarm ? 'warm' : 'cold'],
    ['defaults', `${formatBytes(report.memoryBytes)} of memory, ${report.cpus} CPU`],
  ]
  return formatTable(rows.flatMap(([label, value]) => (value === null ? [] : [[label, value]])))
}

function noRecipeError(name: string) {
  const known = Object.keys(RECIPES)
  const near = nearestName(name, known)
  return vmError('IMAGE_NOT_FOUND', {
    summary: `Recipe '${name}' does not exist.`,
    expected: known.map((other) => `'${other}'`).join(' or '),
    got: `'${name}'`,
    hint: `Specify ${near === undefined ? 'the name of a recipe' : `'${near}'`}. Image files need no build; download images from a URL with \`withvm images pull\`.`,
  })
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
