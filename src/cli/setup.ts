import {
  findNamespaceProblems,
  NAMESPACE_TOOLS,
  type NamespaceQuery,
} from '../../images/debian/namespaces.js'
import { IMAGE_TOOLS } from '../../images/recipes.js'
import { currentUserName } from '../common/process/current-user.js'
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
  const user = findUser()
  const needs = selectNeeds([...IMAGE_TOOLS, ...(user.uid === 0 ? [] : NAMESPACE_TOOLS)])
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
    if (canBuildImages) await reportNamespaces(user)
  }
}

type User = NonNullable<NamespaceQuery['user']>

/** Returns the user who builds images: the one who called sudo, if `sudo npx withvm setup` runs. */
function findUser({ SUDO_USER: name, SUDO_UID: uid }: NodeJS.ProcessEnv = process.env): User {
  const current = { name: currentUserName(), uid: process.geteuid?.() ?? -1 }
  return current.uid === 0 && name && uid ? { name, uid: Number(uid) } : current
}

/** Prints the problems that no package solves: the missing programs are already reported. */
async function reportNamespaces(user: User): Promise<void> {
  const problems = await findNamespaceProblems({ user })
  for (const { got, fix } of problems.filter(({ isProgram }) => !isProgram)) {
    process.stderr.write(
      `withvm: the user ${user.name} cannot build the image debian: ${got}.\nFix: ${fix}\n`,
    )
  }
}
