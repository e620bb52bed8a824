import { vmError } from '../errors.js'
import { ImageDefinition, type ImageOptions } from './image-definition.js'
import { definitionSchema } from './schema/definition.js'
import { countInvalid, findShapeProblems, formatValue, type OptionProblem } from './validate-options.js'

/** The only recipe that supports {@link DEBIAN_OPTIONS}. */
export const DEBIAN = 'debian'
const DEBIAN_OPTIONS = ['suite', 'arch', 'packages'] as const

/**
 * Validates the options of a custom image.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once.
 */
export function createDefinition(options: ImageOptions): ImageDefinition {
  const shape = findShapeProblems(definitionSchema, options)
  const problems = shape.length > 0 ? shape : findConflicts(options)
  if (problems.length > 0) throw definitionError(problems)
  return new ImageDefinition(options)
}

function findConflicts(options: ImageOptions): OptionProblem[] {
  const { from, build } = options
  const problems: OptionProblem[] = []
  if (from !== undefined && build !== undefined) {
    problems.push({
      path: 'build',
      got: 'both',
      expected: 'only one of `build` and `from`',
    })
  }
  const isDebian = build === undefined && (from ?? DEBIAN) === DEBIAN
  for (const name of DEBIAN_OPTIONS) {
    if (isDebian || options[name] === undefined) continue
    const expected = `\`from: '${DEBIAN}'\` (install packages for other images in \`run\` or \`prepare\`)`
    problems.push({ path: name, got: formatValue(options[name]), expected })
  }
  return problems
}

function definitionError(problems: readonly OptionProblem[]) {
  const lines = problems.map(({ path, got, expected }) => `  - ${path}: expected ${expected}, got ${got}`)
  return vmError('INVALID_OPTIONS', {
    summary: `defineImage(): ${countInvalid(problems)}.\n${lines.join('\n')}`,
    hint: 'Change the options listed above. docs/images.md describes all options.',
  })
}
