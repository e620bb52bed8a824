import { IMAGE_TOOLS } from '../../images/recipes.js'
import { VMError } from '../errors.js'
import { setUpHost } from '../host/setup/setup.js'
import { selectNeeds } from '../host/tools.js'
import { EXIT_CODES, formatError } from './exit-code.js'

/** Runs `withvm setup`: installs missing packages, or prints the command that installs them. */
export async function runSetup(options: { readonly checkOnly: boolean }): Promise<number> {
  const log = (line: string) => void process.stdout.write(`${line}\n`)
  try {
    const tools = await setUpHost({
      needs: selectNeeds(IMAGE_TOOLS),
      checkOnly: options.checkOnly,
      log,
    })
    log(`withvm: all ${tools.length} required programs are installed.`)
    return EXIT_CODES.ok
  } catch (error) {
    if (!(error instanceof VMError) || error.code !== 'TOOL_NOT_FOUND') throw error
    process.stderr.write(`${formatError(error, false)}\n`)
    return EXIT_CODES.failed
  }
}
