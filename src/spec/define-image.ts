import { vmError } from '../errors.js'
import { definitionSchema } from './definition-schema.js'
import { ImageDefinition, type ImageOptions, PreparedImage } from './image-definition.js'
import { findShapeProblems, formatValue, type OptionProblem } from './validate-options.js'

/** The recipe that takes `packages` and `suite`. */
export const DEBIAN = 'debian'
const FOR_DEBIAN = ['suite', 'arch', 'packages'] as const

/**
 * Defines an image of the author's own. It is made at its first use and kept, as long as all that it is made from stays the
 * same; guests of it, and other images, start from it.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once.
 */
export function defineImage<VM>(options: ImageOptions<VM>): PreparedImage<VM> {
  const shape = findShapeProblems(definitionSchema, options)
  const problems = shape.length > 0 ? shape : findConflicts(options)
  if (problems.length > 0) throw definitionError(problems)
  return new PreparedImage<VM>(new ImageDefinition(options))
}

function findConflicts<VM>(options: ImageOptions<VM>): OptionProblem[] {
  const { from, build } = options
  const problems: OptionProblem[] = []
  if (from !== undefined && build !== undefined) {
    problems.push({
      path: 'build',
      got: 'a function beside `from`',
      expected: 'one of them: what the image is made from',
    })
  }
  const isDebian = build === undefined && (from ?? DEBIAN) === DEBIAN
  for (const name of FOR_DEBIAN) {
    if (isDebian || options[name] === undefined) continue
    const expected = `from: '${DEBIAN}' beside it; in a guest of another image, install them by \`run\` or \`prepare\``
    problems.push({ path: name, got: formatValue(options[name]), expected })
  }
  return problems
}

function definitionError(problems: readonly OptionProblem[]) {
  const lines = problems.map(({ path, got, expected }) => `  - ${path}: expected ${expected}, got ${got}`)
  const what = problems.length === 1 ? 'an option is wrong' : `${problems.length} options are wrong`
  return vmError('INVALID_OPTIONS', {
    summary: `defineImage(): ${what}.\n${lines.join('\n')}`,
    hint: 'change what is listed above. docs/images.md has every option.',
  })
}
