import type { Command } from 'commander'
import type { SshFlags } from '../ssh.js'

const NAME_HELP = 'name of a guest, as shown by `withvm ps`'

/** Adds the commands about running guests: `ps`, `ssh`, `console` and `stop`. */
export function addRunningGuestCommands(program: Command): void {
  program
    .command('ps')
    .description('list the running guests on this host, including kept guests of failed tests')
    .option('--json', 'print the list as JSON')
    .action(async (options: { json?: boolean }) => {
      const { listGuests } = await import('../ps.js')
      process.exitCode = await listGuests({ json: options.json === true })
    })

  program
    .command('ssh')
    .description('open a shell in a running guest, or run one command and exit with its exit code')
    .argument('<name>', NAME_HELP)
    .argument('[command...]', 'after `--`, as in `withvm run`')
    .option('-l, --user <name>', 'log in as this user')
    .option('-i, --identity <file>', 'log in with this private key')
    .action(async (name: string, command: string[], flags: SshFlags) => {
      const { openSsh } = await import('../ssh.js')
      process.exitCode = await openSsh(name, command, flags)
    })

  program
    .command('console')
    .description('open the serial console of a kept guest; Ctrl-] detaches')
    .argument('<name>', NAME_HELP)
    .action(async (name: string) => {
      const { openConsole } = await import('../console.js')
      process.exitCode = await openConsole(name)
    })

  program
    .command('stop')
    .description('stop and remove kept guests')
    .argument('<name...>', NAME_HELP)
    .action(async (names: string[]) => {
      const { stopGuests } = await import('../stop.js')
      process.exitCode = await stopGuests(names)
    })
}
