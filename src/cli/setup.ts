import { findNamespaceProblems, NAMESPACE_TOOLS } from '../../images/debian/namespaces.js'
import { IMAGE_TOOLS } from '../../images/recipes.js'
import { VMError } from '../errors.js'
import { setUpHost } from '../host/setup/setup.js'
import { selectNeeds } from '../host/tools.js'
import { EXIT_CODES, formatError } from './exit-code.js'

/**
 * Runs `withvm setup`: installs missing packages, or prints the command that installs them. Then
 * prints what else this user needs to build the image debian, which setup does not change: settings
 * of the kernel and the ids of users.
 */
export async function runSetup(options: { readonly checkOnly: boolean }): Promise<number> {
  const log = (line: string) => void process.stdout.write(`${line}\n`)
  const isRoot = process.geteuid?.() === 0
  const needs = selectNeeds([...IMAGE_TOOLS, ...(isRoot ? [] : NAMESPACE_TOOLS)])
  const canBuildImages = needs.some(({ program }) => program === NAMESPACE_TOOLS[0]?.program)
  try {
    const tools = await setUpHost({ needs, checkOnly: options.checkOnly, log })
    log(`withvm: all ${tools.length} required programs are installed.`)
    return EXIT_CODES.ok
  } catch (error) {
    if (!(error instanceof VMError) || error.code !== 'TOOL_NOT_FOUND') throw error
    process.stderr.write(`${formatError(error, false)}\n`)
    return EXIT_CODES.failed
  } finally {
    if (canBuildImages) await reportNamespaces()
  }
}

/** Prints the problems that no package solves: the missing programs are already reported. */
async function reportNamespaces(): Promise<void> {
  const problems = await findNamespaceProblems()
  for (const { got, fix } of problems.filter(({ isProgram }) => !isProgram)) {
    process.stderr.write(`withvm: this user cannot build the image debian: ${got}.\nFix: ${fix}\n`)
  }
}
