import { createRequire } from 'node:module'
import { Command } from 'commander'
import { addCacheCommands } from './commands/cache-commands.js'
import { addCompletionCommands } from './commands/completion-commands.js'
import { addHostCommands } from './commands/host-commands.js'
import { addNewGuestCommands } from './commands/new-guest-commands.js'
import { addRunningGuestCommands } from './commands/running-guest-commands.js'
import { paint, paintError } from './style.js'
import { formatExamples } from './usage.js'

/**
 * Builds the commands. The code of each is loaded when it runs: `withvm setup` must not load an SSH
 * client.
 */
export function buildProgram(): Command {
  const program = new Command('withvm')
    .description('Real virtual machines for tests.')
    .version(readVersion())
    .exitOverride()
    .showSuggestionAfterError()
    // The words after the image of `withvm run` belong to the command in the guest.
    .enablePositionalOptions()
    .configureHelp({ styleTitle: (text) => paint('bold', text) })
    .configureOutput({ outputError: (text, write) => write(paintError(text)) })
    .addHelpText('after', HELP)

  addNewGuestCommands(program.commandsGroup('New guests:'))
  addRunningGuestCommands(program.commandsGroup('Running guests:'))
  addCacheCommands(program.commandsGroup('Images and templates:'))
  addHostCommands(program.commandsGroup('This host:'))
  addCompletionCommands(program.commandsGroup('Other commands:'))
  addVerbose(program)
  return program
}

const HELP = `
Exit codes: 0 success; 1 a guest or a command failed; 2 invalid usage; 69 problem of this host; 70 internal error.

Environment: WITHVM_ACCEL, WITHVM_CACHE and others are listed in docs/guide.md. NO_COLOR and FORCE_COLOR
control colors.
${formatExamples([
  ['withvm run tiny uname -a', 'run one command in a new guest'],
  ['withvm boot debian', 'open a shell in a new guest'],
  ['withvm ps', 'list the running guests'],
  ['withvm logs -f web-9dde26', 'follow the console of one'],
])}`

/** Adds `--verbose` to each command, so that it may stand before and after its name. */
function addVerbose(command: Command): void {
  command.option('--verbose', 'print the stack trace of an error')
  for (const sub of command.commands) addVerbose(sub)
}

function readVersion(): string {
  return (createRequire(import.meta.url)('withvm/package.json') as { version: string }).version
}
