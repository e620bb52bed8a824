import type { Recipe } from './recipe.js'
import { tiny } from './tiny/recipe.js'

/** The images that have a name. */
export const RECIPES: Readonly<Record<string, Recipe>> = { tiny }
