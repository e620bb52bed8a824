import { RECIPES } from '../../images/recipes.js'
import type { ImageSource } from '../spec/image-source.js'
import type { ReplacedArgument } from '../spec/import-report.js'
import type { VMOptions } from '../spec/options.js'

/** Options with those of the command line merged in, and without `commandLine`. Explicit options take precedence. */
export interface MergedCommandLine {
  readonly options: VMOptions
  readonly replacedArguments: readonly ReplacedArgument[]
}

/**
 * Merges the QEMU command line in `commandLine` into the options. Explicit options take precedence; explicit `qemuArgs` are
 * appended to those of the command line.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems of the command line.
 */
export async function mergeCommandLine(options: VMOptions): Promise<MergedCommandLine> {
  if (typeof options?.commandLine !== 'string') return { options, replacedArguments: [] }
  const { parseCommandLine } = await import('../import/command-line/parse-command-line.js')
  const { commandLine, ...given } = options
  const defined = Object.entries(given).filter(([, value]) => value !== undefined)
  const explicit: VMOptions = Object.fromEntries(defined)
  const { options: read, replacedArguments } = parseCommandLine(commandLine)
  const { image, hda, systemDisk, qemuArgs = [], ...rest } = read as VMOptions
  // The `systemDisk` of the command line applies only to the image of the command line.
  const hasOwnImage = explicit.image !== undefined || explicit.hda !== undefined
  const disk = hasOwnImage ? {} : pickDefined({ image, hda, systemDisk })
  const args = [...qemuArgs, ...(explicit.qemuArgs ?? [])]
  const merged = {
    ...rest,
    ...disk,
    ...(hasOwnImage || isRecipe(hda ?? image) ? {} : { ready: 'none' as const }),
    ...explicit,
    ...(args.length > 0 ? { qemuArgs: args } : {}),
  }
  // With an explicit `ssh` option the guest is ready once the login works. Otherwise its login is unknown: `ready: 'none'`.
  if (explicit.ready === undefined && explicit.ssh !== undefined) delete merged.ready
  return { options: merged, replacedArguments }
}

function isRecipe(image: VMOptions['image'] | ImageSource): boolean {
  return typeof image === 'string' && Object.hasOwn(RECIPES, image)
}

function pickDefined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
