import type { HostTool } from '../src/common/process/run-tool.js'
import { UNPACK_TOOLS } from '../src/disk/packing.js'
import { debian } from './debian/recipe.js'
import { debianNetboot } from './netboot/debian-netboot.js'
import type { Recipe } from './recipe.js'
import { tiny } from './tiny/recipe.js'

/** The images that have a name. */
export const RECIPES: Readonly<Record<string, Recipe>> = {
  tiny,
  debian: debian('debian'),
  'debian-netboot': debianNetboot,
}

/** The programs of the host that images need: those that are built, and those that come packed. */
export const IMAGE_TOOLS: readonly HostTool[] = [
  ...Object.values(RECIPES).flatMap(({ tools }) => tools),
  ...UNPACK_TOOLS,
]
