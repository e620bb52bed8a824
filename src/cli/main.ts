#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Argument, Command, CommanderError, Option } from 'commander'
import { ARCH_NAMES } from '../spec/architectures.js'
import type { BootFlags } from './boot.js'
import { addCacheCommands } from './cache-commands.js'
import { EXIT_CODES, exitCodeOf, formatError } from './exit-code.js'
import { addGuestFlags, type GuestFlags } from './guest-options.js'
import { IMAGE_HELP } from './image-flags.js'
import type { ListName } from './list.js'
import type { SshFlags } from './ssh.js'

/** Builds the commands. The code of each is loaded when it runs: `withvm setup` must not load an SSH client. */
function buildProgram(): Command {
  const program = new Command('withvm')
    .description('Real virtual machines for tests.')
    .version(readVersion())
    .option('--verbose', 'print the stack trace of an error')
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText('after', EXIT_CODE_HELP)

  program
    .command('setup')
    .description('install missing host packages: QEMU and the tools that build images')
    .option('--check', 'report missing packages without installing them')
    .action(async (options: { check?: boolean }) => {
      const { runSetup } = await import('./setup.js')
      process.exitCode = await runSetup({ checkOnly: options.check === true })
    })

  program
    .command('doctor')
    .description('report what this host supports, and a fix for each problem')
    .option('--json', 'print the report as JSON')
    .option('--fresh', 'probe KVM again instead of using the cached result')
    .action(async (options: { json?: boolean; fresh?: boolean }) => {
      const { runDoctor } = await import('./doctor.js')
      process.exitCode = await runDoctor({ json: options.json === true, fresh: options.fresh === true })
    })

  program
    .command('list')
    .description('list the machine types, CPU models or devices that QEMU on this host supports')
    .addArgument(new Argument('<what>').choices(LISTS))
    .argument('[device]', 'with `devices`: list the properties of this device')
    .addOption(
      new Option('--arch <name>', 'guest architecture (default: that of the host)').choices(ARCH_NAMES),
    )
    .action(async (what: ListName, device: string | undefined, flags: { arch?: string }, self: Command) => {
      if (device !== undefined && what !== 'devices') self.error('error: only a device has properties')
      const { listHardware } = await import('./list.js')
      process.exitCode = await listHardware(what, device, flags.arch)
    })

  addGuestFlags(program.command('run'))
    .description('run one command in a new guest and exit with its exit code')
    .argument('[image]', IMAGE_HELP)
    .argument(
      '[command...]',
      'after `--`: a single word is a shell command line; several words are a program and its arguments',
    )
    .action(async (image: string | undefined, command: string[], flags: GuestFlags, self: Command) => {
      const { runCommand } = await import('./run.js')
      // With `--from` no image is given, so the first word belongs to the command.
      const words = [...(flags.from === undefined || image === undefined ? [] : [image]), ...command]
      if (image === undefined && flags.from === undefined)
        self.error("error: missing required argument 'image'")
      if (words.length === 0) self.error("error: missing required argument 'command'")
      process.exitCode = await runCommand(image, words, flags)
    })

  addGuestFlags(program.command('boot'))
    .description('boot a guest and open a shell in it; the guest is discarded when the shell exits')
    .argument('[image]', IMAGE_HELP)
    .option('-c, --console', 'open the serial console, from the first byte on, instead of a shell over SSH')
    .action(async (image: string | undefined, flags: BootFlags, self: Command) => {
      if (image === undefined && flags.from === undefined)
        self.error("error: missing required argument 'image'")
      const { bootInteractive } = await import('./boot.js')
      process.exitCode = await bootInteractive(image, flags)
    })

  program
    .command('import')
    .description('convert a libvirt domain to a test, and print the test')
    .argument('<domain.xml>', 'domain file, as written by `virsh dumpxml` or `virt-install --print-xml`')
    .option('--json', 'print the options, and the settings that were not imported, as JSON')
    .action(async (path: string, flags: { json?: boolean }) => {
      const { importLibvirt } = await import('./import.js')
      process.exitCode = await importLibvirt(path, { json: flags.json === true })
    })

  program
    .command('ps')
    .description('list the running guests on this host, including kept guests of failed tests')
    .option('--json', 'print the list as JSON')
    .action(async (options: { json?: boolean }) => {
      const { listGuests } = await import('./ps.js')
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
      const { openSsh } = await import('./ssh.js')
      process.exitCode = await openSsh(name, command, flags)
    })

  program
    .command('console')
    .description('open the serial console of a kept guest; Ctrl-] detaches')
    .argument('<name>', NAME_HELP)
    .action(async (name: string) => {
      const { openConsole } = await import('./console.js')
      process.exitCode = await openConsole(name)
    })

  program
    .command('stop')
    .description('stop and remove kept guests')
    .argument('<name...>', NAME_HELP)
    .action(async (names: string[]) => {
      const { stopGuests } = await import('./stop.js')
      process.exitCode = await stopGuests(names)
    })
  addCacheCommands(program)
  return program
}

const LISTS: readonly ListName[] = ['machines', 'cpus', 'devices']

const NAME_HELP = 'name of a guest, as shown by `withvm ps`'

const EXIT_CODE_HELP = `
Exit codes: 0 success; 1 a guest or a command failed; 2 invalid usage; 69 problem of this host; 70 internal error.`

async function main(): Promise<void> {
  const program = buildProgram()
  try {
    await program.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has already printed the message. Help and version exit with 0; other errors are invalid usage.
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
