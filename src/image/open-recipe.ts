import type { Recipe } from '../../images/recipe.js'
import { readEntryFingerprint } from '../cache/cache.js'
import { vmError } from '../errors.js'
import { type GuestArch, hostArch } from '../spec/architectures.js'
import type { BaseImage } from '../spec/base-image.js'
import type { Report } from './build-job.js'
import { openStored, type StoredOptions } from './stored-image.js'

/**
 * Returns the image of a recipe, built first if necessary.
 *
 * @param content content of the image, for lists of images. @default the name of the recipe
 */
export async function openRecipe(
  recipe: Recipe,
  options: StoredOptions & { readonly arch?: GuestArch | undefined },
  content = recipe.name,
): Promise<BaseImage> {
  const { name } = recipe
  const { arch = hostArch(), signal } = options
  requireArch(recipe, arch)
  const origin = arch === hostArch() ? content : `${content} for ${arch}`
  const dir = await openStored(`building the image ${origin}`, options, {
    name,
    origin,
    inputs: await recipe.readInputs(arch),
    ...(recipe.plan === undefined
      ? { build: (dir: string, _: string, report: Report) => recipe.build({ dir, arch, signal, report }) }
      : { job: { kind: 'recipe', recipe: recipe.plan, arch } as const }),
  })
  return { ...(await recipe.open(dir, arch)), fingerprint: await readEntryFingerprint(dir) }
}

/**
 * Checks that a recipe supports an architecture.
 * @throws {UsageError} IMAGE_NOT_FOUND when it does not.
 */
export function requireArch(
  { name, architectures }: Pick<Recipe, 'name' | 'architectures'>,
  arch: GuestArch,
): void {
  if (architectures.includes(arch)) return
  throw vmError('IMAGE_NOT_FOUND', {
    summary: `The image ${name} is not available for ${arch} guests.`,
    expected: `one of ${architectures.map((known) => `'${known}'`).join(', ')}`,
    got: `'${arch}'`,
    hint: 'Specify the path of a disk image, or `kernel` and `initrd`, or `image: false` for a machine without a system disk.',
  })
}
