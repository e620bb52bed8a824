import type { Command } from 'commander'
import type { Json, PruneFlags } from '../entry-list.js'
import { addImageFlags, IMAGE_HELP, type ImageFlags } from '../image-flags.js'
import { formatExamples, setDefaultAction } from '../usage.js'

const PRUNE_HELP = 'remove the least recently used entries that are not in use'
const MAX_SIZE_HELP = "total size to keep, such as '2G' (default: remove all unused entries)"
const NAMES_HELP = 'names as shown by `ls`'
const REMOVED_HELP = 'print the names of the removed entries as JSON'

/**
 * Adds the commands that manage the cache. The code of each command is loaded when the command
 * runs.
 */
export function addCacheCommands(program: Command): void {
  addImageCommands(program)
  addTemplateCommands(program)
}

function addImageCommands(program: Command): void {
  const show = async (options: Json) => {
    const { showImages } = await import('../images.js')
    process.exitCode = await showImages({ json: options.json === true })
  }
  const images = program
    .command('images')
    .description('list and manage cached images')
    .option('--json', 'print the list as JSON')
    .helpCommand(true)
    .addHelpText(
      'after',
      formatExamples([
        ['withvm images', 'list the cached images'],
        ['withvm images build debian', 'build before the tests, such as in CI'],
        ['withvm images prune --max-size 10G', 'free space'],
      ]),
    )
  setDefaultAction(images, show)
  images
    .command('ls')
    .description('list cached images with their size, last use and origin')
    .option('--json', 'print the list as JSON')
    .action(show)
  addImageSources(images)
  addImageReports(images)
  addImageRemovals(images)
}

/** Adds the commands that put images into the cache. */
function addImageSources(images: Command): void {
  images
    .command('build')
    .description('build the image of a recipe unless it is cached')
    .argument('<name>', "name of a recipe, such as 'tiny'")
    .option('--json', 'print the image as JSON')
    .addHelpText('after', formatExamples([['withvm images build tiny', 'build the default image']]))
    .action(async (name: string, options: Json) => {
      const { buildImage } = await import('../images.js')
      process.exitCode = await buildImage(name, options)
    })
  addImageFlags(images.command('pull'))
    .description('download an image unless it is cached')
    .argument('<url>', 'URL of the image; requires --sha256 or --sha512')
    .option('--json', 'print the image as JSON')
    .addHelpText(
      'after',
      formatExamples([
        ['withvm images pull https://… --sha256 …', 'download an image and verify its checksum'],
      ]),
    )
    .action(async (url: string, flags: ImageFlags & Json) => {
      const { pullImage } = await import('../images.js')
      process.exitCode = await pullImage(url, flags)
    })
}

function addImageReports(images: Command): void {
  addImageFlags(images.command('inspect'))
    .description('show the disk, kernel, login and defaults of an image')
    .argument('<image>', IMAGE_HELP)
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      formatExamples([['withvm images inspect ./system.qcow2', 'show its format, backing chain and login']]),
    )
    .action(async (image: string, flags: ImageFlags & Json) => {
      const { inspectImage } = await import('../images.js')
      process.exitCode = await inspectImage(image, flags)
    })
  addImageFlags(images.command('path'))
    .description('print the path of the disk of an image; builds or downloads the image if needed')
    .argument('<image>', IMAGE_HELP)
    .addHelpText('after', formatExamples([['qemu-img info "$(withvm images path tiny)"', 'use the disk']]))
    .action(async (image: string, flags: ImageFlags) => {
      const { printPath } = await import('../images.js')
      process.exitCode = await printPath(image, flags)
    })
}

function addImageRemovals(images: Command): void {
  images
    .command('history')
    .description('list the layers of a cached image with their size and the time they took')
    .argument('<name>', 'name of an image as shown by `ls`, of a defined image, or of a recipe')
    .option('--json', 'print the list as JSON')
    .addHelpText(
      'after',
      formatExamples([
        ['withvm images history tiny', 'a recipe'],
        ['withvm images history web', 'the layers of `defineImage({ name: "web", … })`'],
      ]),
    )
    .action(async (name: string, options: { json?: boolean }) => {
      const { showHistory } = await import('../image-history.js')
      process.exitCode = await showHistory(name, { json: options.json === true })
    })
  images
    .command('rm')
    .description(
      'remove images and their layers from the cache; they are built or downloaded again when needed',
    )
    .argument('<name...>', NAMES_HELP)
    .option('--json', REMOVED_HELP)
    .action(async (names: string[], options: Json) => {
      const { deleteImages } = await import('../images.js')
      process.exitCode = await deleteImages(names, options)
    })
  images
    .command('prune')
    .description(PRUNE_HELP)
    .option('--max-size <size>', MAX_SIZE_HELP)
    .option('--json', REMOVED_HELP)
    .addHelpText('after', formatExamples([['withvm images prune --max-size 10G', 'keep 10 GiB of images']]))
    .action(async (options: PruneFlags) => {
      const { pruneCachedImages } = await import('../images.js')
      process.exitCode = await pruneCachedImages(options)
    })
}

function addTemplateCommands(program: Command): void {
  const show = async (options: Json) => {
    const { showTemplates } = await import('../templates.js')
    process.exitCode = await showTemplates({ json: options.json === true })
  }
  const templates = program
    .command('templates')
    .description('list and manage templates: snapshots of booted guests that clones start from')
    .option('--json', 'print the list as JSON')
    .helpCommand(true)
    .addHelpText(
      'after',
      formatExamples([
        ['withvm templates', 'list the templates'],
        ['withvm templates prune', 'remove all templates that are not in use'],
      ]),
    )
  setDefaultAction(templates, show)
  templates
    .command('ls')
    .description('list templates with their size and last use')
    .option('--json', 'print the list as JSON')
    .action(show)
  templates
    .command('rm')
    .description('remove templates; they are built again when needed')
    .argument('<name...>', NAMES_HELP)
    .option('--json', REMOVED_HELP)
    .action(async (names: string[], options: Json) => {
      const { deleteTemplates } = await import('../templates.js')
      process.exitCode = await deleteTemplates(names, options)
    })
  templates
    .command('prune')
    .description(PRUNE_HELP)
    .option('--max-size <size>', MAX_SIZE_HELP)
    .option('--json', REMOVED_HELP)
    .action(async (options: PruneFlags) => {
      const { pruneCachedTemplates } = await import('../templates.js')
      process.exitCode = await pruneCachedTemplates(options)
    })
}
