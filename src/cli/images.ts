import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { RECIPES } from '../../images/recipes.js'
import { imagesDir, listImages, pruneImages, removeImages } from '../cache/image-store.js'
import { isOpenToOthers } from '../common/files/open-to-others.js'
import { nearestName } from '../common/nearest-name.js'
import { formatBytes } from '../common/units.js'
import { openDisk } from '../disk/backing-chain.js'
import { vmError } from '../errors.js'
import { readCaches, resolveImage } from '../image/resolve-image.js'
import type { BaseImage } from '../spec/base-image.js'
import type { ImageSource } from '../spec/image-source.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import { awaitStaleUsers } from './await-users.js'
import { removing } from './cache-errors.js'
import { formatEntries, tidyEntries } from './entry-list.js'
import { EXIT_CODES } from './exit-code.js'
import { type ImageFlags, readImageSource } from './image-flags.js'

/** `withvm images ls`: what the cache has. */
export async function showImages(options: { readonly json: boolean }): Promise<number> {
  const images = await listImages(readCaches())
  const none = 'There is no image in the cache: the first use of one brings it there.'
  const table = images.length === 0 ? none : formatEntries(images, 'images')
  say(options.json ? JSON.stringify(images, undefined, 2) : table)
  return EXIT_CODES.ok
}

/** `withvm images build`: makes a recipe's image, if it is not there. */
export async function buildImage(name: string): Promise<number> {
  if (!Object.hasOwn(RECIPES, name)) throw noRecipe(name)
  return sayWhereItIs(await resolveImage(name))
}

/** `withvm images pull`: downloads an image, if it is not there. */
export async function pullImage(url: string, flags: ImageFlags): Promise<number> {
  if (!/^https?:/i.test(url)) {
    process.stderr.write(`withvm: pull takes a URL that begins with http: or https:, not '${url}'.\n`)
    return EXIT_CODES.usage
  }
  return sayWhereItIs(await openImage(url, flags))
}

/** `withvm images path`: where the disk of an image lies; made or downloaded first, if it is not there. */
export async function printPath(image: string, flags: ImageFlags): Promise<number> {
  const { disk, directBoot } = await openImage(image, flags)
  say(disk?.path ?? directBoot?.kernel ?? '')
  return EXIT_CODES.ok
}

/** `withvm images inspect`: what an image is, and how its guest is reached. */
export async function inspectImage(
  image: string,
  flags: ImageFlags & { readonly json?: boolean },
): Promise<number> {
  const report = await describe(await openImage(image, flags))
  say(flags.json === true ? JSON.stringify(report, undefined, 2) : formatReport(report))
  return EXIT_CODES.ok
}

/** `withvm images rm`. */
export async function deleteImages(names: readonly string[]): Promise<number> {
  const caches = readCaches()
  warnOfReaders(imagesDir(caches))
  await awaitStaleUsers(imagesDir(caches), names)
  await removing(imagesDir(caches), () => removeImages(names, caches))
  return EXIT_CODES.ok
}

/** `withvm images prune`: without a size, all that is not in use. */
export async function tidyImages(options: { readonly maxSize?: string }): Promise<number> {
  const caches = readCaches()
  return tidyEntries(options, async (mostBytes) => {
    warnOfReaders(imagesDir(caches))
    await awaitStaleUsers(imagesDir(caches))
    return removing(imagesDir(caches), () => pruneImages(caches, { mostBytes }))
  })
}

function warnOfReaders(images: string): void {
  if (!existsSync(images) || !isOpenToOthers(images)) return
  process.stderr.write(
    `withvm: other users can read ${images}; an image that only their guests use does not count as in use.\n`,
  )
}

function openImage(image: string, flags: ImageFlags): Promise<BaseImage> {
  const source: ImageSource = readImageSource(image, flags)
  const problems = findOptionProblems({ image: source })
  if (problems.length > 0) throw optionError(problems)
  return resolveImage(source)
}

function sayWhereItIs({ name, disk }: BaseImage): number {
  const entry = disk === undefined ? '' : ` as ${basename(dirname(disk.path))}`
  say(`${name} is in the cache${entry}.`)
  return EXIT_CODES.ok
}

type ImageReport = Awaited<ReturnType<typeof describe>>

async function describe({ name, disk, directBoot, traits, defaults }: BaseImage) {
  // Where its backing files may lie was looked at when it was resolved.
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
    startsWarm: traits.hasIdentityAgent,
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
    [
      'size',
      disk && `${formatBytes(disk.virtualBytes)}, of which ${formatBytes(disk.bytes)} are on this disk`,
    ],
    ...(disk?.chain ?? [])
      .slice(1)
      .map(({ path, format }): [string, string] => ['backed by', `${path} (${format})`]),
    ['kernel', kernel],
    ['initrd', initrd],
    ['append', append],
    ['login', report.takesKey ? `${report.user}, by a key that is given at boot` : report.user],
    ['agent', report.hasAgent ? 'yes' : 'not known'],
    ['start', report.startsWarm ? 'warm' : 'cold'],
    ['defaults', `${formatBytes(report.memoryBytes)} of memory, ${report.cpus} CPU`],
  ]
  return rows
    .filter(([, value]) => value !== null)
    .map(([label, value]) => `${label.padEnd(9)}  ${value}`)
    .join('\n')
}

function noRecipe(name: string) {
  const known = Object.keys(RECIPES)
  const near = nearestName(name, known)
  return vmError('IMAGE_NOT_FOUND', {
    summary: `There is no recipe '${name}'.`,
    expected: known.join(' or '),
    got: `'${name}'`,
    hint: `${near === undefined ? '' : `Did you mean '${near}'? `}What is at a path needs no building; what is at a URL is fetched by \`withvm images pull\`.`,
  })
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
