import type { Command } from 'commander'
import { addImageFlags, IMAGE_HELP, type ImageFlags } from '../image-flags.js'

const PRUNE_HELP = 'remove the least recently used entries that are not in use'
const MAX_SIZE_HELP = "total size to keep, such as '2G' (default: remove all unused entries)"
const NAMES_HELP = 'names as shown by `ls`'

/**
 * Adds the commands that manage the cache. The code of each command is loaded when the command
 * runs.
 */
export function addCacheCommands(program: Command): void {
  addImageCommands(program)
  addTemplateCommands(program)
}

function addImageCommands(program: Command): void {
  const images = program.command('images').description('manage cached images')
  images
    .command('ls')
    .description('list cached images with their size, last use and origin')
    .option('--json', 'print the list as JSON')
    .action(async (options: { json?: boolean }) => {
      const { showImages } = await import('../images.js')
      process.exitCode = await showImages({ json: options.json === true })
    })
  images
    .command('build')
    .description('build the image of a recipe unless it is cached')
    .argument('<name>', "name of a recipe, such as 'tiny'")
    .action(async (name: string) => {
      const { buildImage } = await import('../images.js')
      process.exitCode = await buildImage(name)
    })
  addImageFlags(images.command('pull'))
    .description('download an image unless it is cached')
    .argument('<url>', 'URL of the image; requires --sha256 or --sha512')
    .action(async (url: string, flags: ImageFlags) => {
      const { pullImage } = await import('../images.js')
      process.exitCode = await pullImage(url, flags)
    })
  addImageFlags(images.command('inspect'))
    .description('show the disk, kernel, login and defaults of an image')
    .argument('<image>', IMAGE_HELP)
    .option('--json', 'print the report as JSON')
    .action(async (image: string, flags: ImageFlags & { json?: boolean }) => {
      const { inspectImage } = await import('../images.js')
      process.exitCode = await inspectImage(image, flags)
    })
  addImageFlags(images.command('path'))
    .description('print the path of the disk of an image; builds or downloads the image if needed')
    .argument('<image>', IMAGE_HELP)
    .action(async (image: string, flags: ImageFlags) => {
      const { printPath } = await import('../images.js')
      process.exitCode = await printPath(image, flags)
    })
  images
    .command('rm')
    .description('remove images from the cache; they are built or downloaded again when needed')
    .argument('<name...>', NAMES_HELP)
    .action(async (names: string[]) => {
      const { deleteImages } = await import('../images.js')
      process.exitCode = await deleteImages(names)
    })
  images
    .command('prune')
    .description(PRUNE_HELP)
    .option('--max-size <size>', MAX_SIZE_HELP)
    .action(async (options: { maxSize?: string }) => {
      const { pruneCachedImages } = await import('../images.js')
      process.exitCode = await pruneCachedImages(options)
    })
}

function addTemplateCommands(program: Command): void {
  const templates = program
    .command('templates')
    .description('manage templates: snapshots of booted guests that clones start from')
  templates
    .command('ls')
    .description('list templates with their size and last use')
    .option('--json', 'print the list as JSON')
    .action(async (options: { json?: boolean }) => {
      const { showTemplates } = await import('../templates.js')
      process.exitCode = await showTemplates({ json: options.json === true })
    })
  templates
    .command('rm')
    .description('remove templates; they are built again when needed')
    .argument('<name...>', NAMES_HELP)
    .action(async (names: string[]) => {
      const { deleteTemplates } = await import('../templates.js')
      process.exitCode = await deleteTemplates(names)
    })
  templates
    .command('prune')
    .description(PRUNE_HELP)
    .option('--max-size <size>', MAX_SIZE_HELP)
    .action(async (options: { maxSize?: string }) => {
      const { pruneCachedTemplates } = await import('../templates.js')
      process.exitCode = await pruneCachedTemplates(options)
    })
}
