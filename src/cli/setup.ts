import { IMAGE_TOOLS } from '../../images/recipes.js'
import { VMError } from '../errors.js'
import { setUpHost } from '../host/setup/setup.js'
import { selectNeeds } from '../host/tools.js'
import { EXIT_CODES } from './exit-code.js'

/** `withvm setup`: installs what is missing, or says how to. */
export async function runSetup(options: { readonly checkOnly: boolean }): Promise<number> {
  const log = (line: string) => void process.stdout.write(`${line}\n`)
  try {
    const tools = await setUpHost({
      needs: selectNeeds(IMAGE_TOOLS),
      checkOnly: options.checkOnly,
      log,
    })
    log(`withvm: all ${tools.length} programs that guests need are installed.`)
    return EXIT_CODES.ok
  } catch (error) {
    if (!(error instanceof VMError) || error.code !== 'TOOL_NOT_FOUND') throw error
    process.stderr.write(`withvm: ${error.message}\n`)
    return EXIT_CODES.failed
  }
}
