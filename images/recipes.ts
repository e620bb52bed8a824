import type { HostTool } from '../src/common/process/run-tool.js'
import { UNPACK_TOOLS } from '../src/disk/packing.js'
import { debian } from './debian/recipe.js'
import { debianNetboot } from './netboot/debian-netboot.js'
import type { Recipe, RecipePlan } from './recipe.js'
import { tiny } from './tiny/recipe.js'

/** Built-in images by name. */
export const RECIPES: Readonly<Record<string, Recipe>> = {
  tiny,
  debian: debian('debian'),
  'debian-netboot': debianNetboot,
}

/** Host programs for building images and for unpacking compressed ones. */
export const IMAGE_TOOLS: readonly HostTool[] = [
  ...Object.values(RECIPES).flatMap(({ tools }) => tools),
  ...UNPACK_TOOLS,
]

/** Makes a recipe from its plan. @throws {TypeError} when no built-in recipe has that name. */
export function recipeOf({ name, debian: options }: RecipePlan): Recipe {
  const recipe = options === undefined ? RECIPES[name] : debian(name, options)
  if (recipe === undefined) throw new TypeError(`The recipe ${name} does not exist.`)
  return recipe
}
