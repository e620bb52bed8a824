import { type Command, InvalidArgumentError } from 'commander'
import type { LoginFlags } from '../guests/login.js'
import type { StopFlags } from '../guests/stop.js'
import { failUsage, formatExamples } from '../usage.js'

const NAME_HELP = 'name of a guest, as shown by `withvm ps`'

/** Adds the commands about running guests. */
export function addRunningGuestCommands(program: Command): void {
  program
    .command('ps')
    .description('list the running guests on this host, including standbys and kept guests of failed tests')
    .option('--json', 'print the list as JSON')
    .addHelpText(
      'after',
      formatExamples([["withvm ps --json | jq -r '.[].name'", 'print the names of the guests']]),
    )
    .action(async (options: { json?: boolean }) => {
      const { listGuests } = await import('../guests/ps.js')
      process.exitCode = await listGuests({ json: options.json === true })
    })
  addShellCommands(program)
  addConsoleCommands(program)
  addStop(program)
}

function addShellCommands(program: Command): void {
  addLoginFlags(program.command('ssh'))
    .description('open a shell in a running guest, or run one command and exit with its exit code')
    .argument('<name>', NAME_HELP)
    .argument('[command...]', 'as in `withvm run`; options of withvm precede the name')
    .passThroughOptions()
    .addHelpText(
      'after',
      formatExamples([
        ['withvm ssh web-9dde26', 'open a shell'],
        ['withvm ssh web-9dde26 journalctl -b', 'run one command'],
        ['withvm ssh web-9dde26 < script.sh', 'run a script'],
      ]),
    )
    .action(async (name: string, words: string[], flags: LoginFlags, self: Command) => {
      if (words[0]?.startsWith('-') && words[0] !== '--')
        failUsage(self, `option '${words[0]}' after the name: options of withvm precede the name`)
      const { openSsh } = await import('../guests/ssh.js')
      process.exitCode = await openSsh(name, words[0] === '--' ? words.slice(1) : words, flags)
    })

  addLoginFlags(program.command('cp'))
    .description('copy files and folders to or from running guests; folders are copied completely')
    .usage('[options] <source...> <target>')
    .argument(
      '<paths...>',
      'path on this host, or NAME:PATH in a guest; an existing folder as target receives the copy',
    )
    .addHelpText(
      'after',
      formatExamples([
        ['withvm cp app.tar web-9dde26:/srv/', 'copy a file to a guest'],
        ['withvm cp web-9dde26:/var/log ./logs', 'copy a folder from a guest'],
      ]),
    )
    .action(async (paths: string[], flags: LoginFlags, self: Command) => {
      if (paths.length < 2) failUsage(self, 'missing target')
      const { copyFiles } = await import('../guests/cp.js')
      process.exitCode = await copyFiles(paths, flags)
    })
}

function addConsoleCommands(program: Command): void {
  program
    .command('logs')
    .description('print the serial console of a running guest; as plain text on a terminal')
    .argument('<name>', NAME_HELP)
    .option('-f, --follow', 'continue until the guest ends')
    .option('-n, --lines <count>', 'print only the last lines', toCount)
    .addHelpText(
      'after',
      formatExamples([
        ['withvm logs -n 50 web-9dde26', 'print the last 50 lines'],
        ['withvm logs -f web-9dde26', 'follow a boot or a test'],
      ]),
    )
    .action(async (name: string, flags: { follow?: boolean; lines?: number }) => {
      const { printLogs } = await import('../guests/logs.js')
      process.exitCode = await printLogs(name, flags)
    })

  program
    .command('console')
    .description('open the serial console of a kept guest; Ctrl-] detaches')
    .argument('<name>', NAME_HELP)
    .option('--view', 'show the console without input, also of a guest that a running test uses')
    .addHelpText(
      'after',
      formatExamples([
        ['withvm console web-9dde26', 'use the console of a kept guest'],
        ['withvm console --view web-9dde26', 'watch the guest of a running test'],
      ]),
    )
    .action(async (name: string, flags: { view?: boolean }) => {
      const { openConsole, viewConsole } = await import('../guests/console.js')
      process.exitCode = await (flags.view === true ? viewConsole(name) : openConsole(name))
    })
}

function addStop(program: Command): void {
  program
    .command('stop')
    .description('stop and remove kept guests')
    .argument('[name...]', NAME_HELP)
    .option('-a, --all', 'stop all kept guests of this user')
    .option('--json', 'print the names of the stopped guests as JSON')
    .addHelpText(
      'after',
      formatExamples([
        ['withvm stop web-9dde26', 'stop one guest'],
        ['withvm stop --all', 'stop all kept guests; guests of running tests are not affected'],
      ]),
    )
    .action(async (names: string[], flags: StopFlags, self: Command) => {
      if (names.length === 0 && flags.all !== true) failUsage(self, 'missing name, or --all')
      if (names.length > 0 && flags.all === true) failUsage(self, 'names together with --all')
      const { stopGuests } = await import('../guests/stop.js')
      process.exitCode = await stopGuests(names, flags)
    })
}

function addLoginFlags(command: Command): Command {
  return command
    .option('-l, --user <name>', 'log in as this user')
    .option('-i, --identity <file>', 'log in with this private key')
}

function toCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Specify a number of lines, 1 or more.')
}
