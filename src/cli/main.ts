#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { addCacheCommands } from './commands/cache-commands.js'
import { addHostCommands } from './commands/host-commands.js'
import { addNewGuestCommands } from './commands/new-guest-commands.js'
import { addRunningGuestCommands } from './commands/running-guest-commands.js'
import { EXIT_CODES, exitCodeOf, formatError } from './exit-code.js'

/**
 * Builds the commands. The code of each is loaded when it runs: `withvm setup` must not load an SSH
 * client.
 */
function buildProgram(): Command {
  const program = new Command('withvm')
    .description('Real virtual machines for tests.')
    .version(readVersion())
    .option('--verbose', 'print the stack trace of an error')
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText('after', EXIT_CODE_HELP)

  addHostCommands(program)
  addNewGuestCommands(program)
  addRunningGuestCommands(program)
  addCacheCommands(program)
  return program
}

const EXIT_CODE_HELP = `
Exit codes: 0 success; 1 a guest or a command failed; 2 invalid usage; 69 problem of this host; 70 internal error.`

async function main(): Promise<void> {
  const program = buildProgram()
  try {
    await program.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has already printed the message. Help and version exit with 0; other errors are
      // invalid usage.
      process.exitCode = error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage
      return
    }
    process.stderr.write(`${formatError(error, program.opts().verbose === true)}\n`)
    process.exitCode = exitCodeOf(error)
  }
}

function readVersion(): string {
  return (createRequire(import.meta.url)('withvm/package.json') as { version: string }).version
}

// `withvm doctor | head -1` closes the pipe early, which is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

await main()
