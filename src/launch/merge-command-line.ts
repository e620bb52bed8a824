import { RECIPES } from '../../images/recipes.js'
import type { ImageSource } from '../spec/image-source.js'
import type { ReplacedArgument } from '../spec/import-report.js'
import type { VMOptions } from '../spec/options.js'
import { hasImage, mergeImported, pickDefined } from './merge-imported.js'

/**
 * Options with those of the command line merged in, and without `commandLine`. Explicit options
 * take precedence.
 */
export interface MergedCommandLine {
  readonly options: VMOptions
  readonly replacedArguments: readonly ReplacedArgument[]
}

/**
 * Merges the QEMU command line in `commandLine` into the options. Explicit options take precedence;
 * explicit `qemuArgs` are appended to those of the command line.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems of the command line.
 */
export async function mergeCommandLine(options: VMOptions): Promise<MergedCommandLine> {
  if (typeof options?.commandLine !== 'string') return { options, replacedArguments: [] }
  const { parseCommandLine } = await import('../import/command-line/parse-command-line.js')
  const { commandLine, ...given } = options
  const explicit = pickDefined(given)
  const { options: read, replacedArguments } = parseCommandLine(commandLine)
  const imported = read as VMOptions
  // The login of an image that withvm does not know is unknown, unless the option `ssh` specifies
  // it.
  const isLoginKnown =
    hasImage(explicit) || isRecipe(imported.hda ?? imported.image) || explicit.ssh !== undefined
  const args = [...(imported.qemuArgs ?? []), ...(explicit.qemuArgs ?? [])]
  const merged = {
    ...(isLoginKnown ? {} : { ready: 'none' as const }),
    ...mergeImported(imported, explicit),
    ...(args.length > 0 ? { qemuArgs: args } : {}),
  }
  return { options: merged, replacedArguments }
}

function isRecipe(image: VMOptions['image'] | ImageSource): boolean {
  return typeof image === 'string' && Object.hasOwn(RECIPES, image)
}
