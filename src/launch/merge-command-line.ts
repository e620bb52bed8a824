import { RECIPES } from '../../images/recipes.js'
import type { ImageSource } from '../spec/image-source.js'
import type { VMOptions } from '../spec/options.js'
import type { Translation } from '../spec/translation.js'
import type { VM } from '../vm/guest/vm.js'

/** Options without `commandLine`: what it says is among them, where nothing beside it says otherwise. */
export interface MergedCommandLine {
  readonly options: VMOptions<VM>
  readonly translated: readonly Translation[]
}

/**
 * Reads the command line that the options have. What is beside it counts in place of what it says; `qemuArgs` come behind its own.
 * @throws {UsageError} INVALID_OPTIONS with all that is wrong with the line.
 */
export async function mergeCommandLine(options: VMOptions<VM>): Promise<MergedCommandLine> {
  if (typeof options?.commandLine !== 'string') return { options, translated: [] }
  const { parseCommandLine } = await import('../import/command-line/parse-command-line.js')
  const { commandLine, ...given } = options
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  const beside: VMOptions<VM> = Object.fromEntries(said)
  const { options: read, translated } = parseCommandLine(commandLine)
  const { image, hda, systemDisk, qemuArgs = [], ...rest } = read as VMOptions<VM>
  // A disk is connected as the line says where it is the line's.
  const isOther = beside.image !== undefined || beside.hda !== undefined
  const disk = isOther ? {} : pickSaid({ image, hda, systemDisk })
  const args = [...qemuArgs, ...(beside.qemuArgs ?? [])]
  const merged = {
    ...rest,
    ...disk,
    ...(isOther || isRecipe(hda ?? image) ? {} : { ready: 'none' as const }),
    ...beside,
    ...(args.length > 0 ? { qemuArgs: args } : {}),
  }
  // Who says how to log in waits for it; of a guest that nobody says anything of, no more is known than that it runs.
  if (beside.ready === undefined && beside.ssh !== undefined) delete merged.ready
  return { options: merged, translated }
}

function isRecipe(image: VMOptions<VM>['image'] | ImageSource): boolean {
  return typeof image === 'string' && Object.hasOwn(RECIPES, image)
}

function pickSaid<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
