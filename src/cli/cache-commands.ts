import type { Command } from 'commander'
import { addImageFlags, IMAGE_HELP, type ImageFlags } from './image-flags.js'

const PRUNE_HELP = 'remove those that were not used for longest, and are not in use'
const MAX_SIZE_HELP = "keep as many as take no more than this, as '2G'; else all are removed"
const NAMES_HELP = 'as `ls` shows them'

/** The commands for what the cache keeps. Their code is loaded when they are called. */
export function addCacheCommands(program: Command): void {
  addImageCommands(program)
  addTemplateCommands(program)
}

function addImageCommands(program: Command): void {
  const images = program.command('images').description('the images that are kept on this host')
  images
    .command('ls')
    .description('show them, with what they take on the disk and where they come from')
    .option('--json', 'print them as JSON')
    .action(async (options: { json?: boolean }) => {
      const { showImages } = await import('./images.js')
      process.exitCode = await showImages({ json: options.json === true })
    })
  images
    .command('build')
    .description('make the image of a recipe, if it is not there')
    .argument('<name>', "a recipe's name, as 'tiny'")
    .action(async (name: string) => {
      const { buildImage } = await import('./images.js')
      process.exitCode = await buildImage(name)
    })
  addImageFlags(images.command('pull'))
    .description('download an image, if it is not there')
    .argument('<url>', 'where it is; with --sha256 or --sha512')
    .action(async (url: string, flags: ImageFlags) => {
      const { pullImage } = await import('./images.js')
      process.exitCode = await pullImage(url, flags)
    })
  addImageFlags(images.command('inspect'))
    .description('show what an image is, and how its guest is reached')
    .argument('<image>', IMAGE_HELP)
    .option('--json', 'print it as JSON')
    .action(async (image: string, flags: ImageFlags & { json?: boolean }) => {
      const { inspectImage } = await import('./images.js')
      process.exitCode = await inspectImage(image, flags)
    })
  addImageFlags(images.command('path'))
    .description('print where the disk of an image lies, made or downloaded first if it is not there')
    .argument('<image>', IMAGE_HELP)
    .action(async (image: string, flags: ImageFlags) => {
      const { printPath } = await import('./images.js')
      process.exitCode = await printPath(image, flags)
    })
  images
    .command('rm')
    .description('remove some; they are made or downloaded again when they are needed')
    .argument('<name...>', NAMES_HELP)
    .action(async (names: string[]) => {
      const { deleteImages } = await import('./images.js')
      process.exitCode = await deleteImages(names)
    })
  images
    .command('prune')
    .description(PRUNE_HELP)
    .option('--max-size <size>', MAX_SIZE_HELP)
    .action(async (options: { maxSize?: string }) => {
      const { tidyImages } = await import('./images.js')
      process.exitCode = await tidyImages(options)
    })
}

function addTemplateCommands(program: Command): void {
  const templates = program
    .command('templates')
    .description('the guests that were booted once and frozen, for others to go on from')
  templates
    .command('ls')
    .description('show them, with what they take on the disk')
    .option('--json', 'print them as JSON')
    .action(async (options: { json?: boolean }) => {
      const { showTemplates } = await import('./templates.js')
      process.exitCode = await showTemplates({ json: options.json === true })
    })
  templates
    .command('rm')
    .description('remove some; they are made again when they are needed')
    .argument('<name...>', NAMES_HELP)
    .action(async (names: string[]) => {
      const { deleteTemplates } = await import('./templates.js')
      process.exitCode = await deleteTemplates(names)
    })
  templates
    .command('prune')
    .description(PRUNE_HELP)
    .option('--max-size <size>', MAX_SIZE_HELP)
    .action(async (options: { maxSize?: string }) => {
      const { tidyTemplates } = await import('./templates.js')
      process.exitCode = await tidyTemplates(options)
    })
}
