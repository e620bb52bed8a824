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

/** Each command's code is loaded when it is called: `withvm setup` must not wait for an SSH client. */
function buildProgram(): Command {
  const program = new Command('withvm')
    .description('Real virtual machines for tests.')
    .version(readVersion())
    .option('--verbose', 'show where in the code an error comes from')
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText('after', EXIT_CODE_HELP)

  program
    .command('setup')
    .description('install what guests need and is missing: QEMU, and the tools that build images')
    .option('--check', 'only say what is missing')
    .action(async (options: { check?: boolean }) => {
      const { runSetup } = await import('./setup.js')
      process.exitCode = await runSetup({ checkOnly: options.check === true })
    })

  program
    .command('doctor')
    .description('show what this host can do, and what to do about each gap')
    .option('--json', 'print the report as JSON')
    .option('--fresh', 'try KVM again instead of showing what is remembered')
    .action(async (options: { json?: boolean; fresh?: boolean }) => {
      const { runDoctor } = await import('./doctor.js')
      process.exitCode = await runDoctor({ json: options.json === true, fresh: options.fresh === true })
    })

  program
    .command('list')
    .description("list what this host's QEMU has, as names for the options: the machines, CPUs or devices")
    .addArgument(new Argument('<what>').choices(LISTS))
    .argument('[device]', 'with `devices`: list the properties of this one')
    .addOption(
      new Option('--arch <name>', "of the QEMU for this architecture; without it, the host's").choices(
        ARCH_NAMES,
      ),
    )
    .action(async (what: ListName, device: string | undefined, flags: { arch?: string }, self: Command) => {
      if (device !== undefined && what !== 'devices') self.error('error: only a device has properties')
      const { listHardware } = await import('./list.js')
      process.exitCode = await listHardware(what, device, flags.arch)
    })

  addGuestFlags(program.command('run'))
    .description('run one command in a fresh guest, and end with its exit code')
    .argument('[image]', IMAGE_HELP)
    .argument(
      '[command...]',
      'after `--`: one word is a line for the shell, several are a program and its arguments',
    )
    .action(async (image: string | undefined, command: string[], flags: GuestFlags, self: Command) => {
      const { runCommand } = await import('./run.js')
      // With `--from` there is no image, so the first word is the command's.
      const words = [...(flags.from === undefined || image === undefined ? [] : [image]), ...command]
      if (image === undefined && flags.from === undefined)
        self.error("error: missing required argument 'image'")
      if (words.length === 0) self.error("error: missing required argument 'command'")
      process.exitCode = await runCommand(image, words, flags)
    })

  addGuestFlags(program.command('boot'))
    .description('boot a guest and open a shell in it; it is thrown away at the end')
    .argument('[image]', IMAGE_HELP)
    .option('-c, --console', 'the serial console, from the first byte on, in place of a shell over SSH')
    .action(async (image: string | undefined, flags: BootFlags, self: Command) => {
      if (image === undefined && flags.from === undefined)
        self.error("error: missing required argument 'image'")
      const { bootInteractive } = await import('./boot.js')
      process.exitCode = await bootInteractive(image, flags)
    })

  program
    .command('import')
    .description('print what is made of a domain of libvirt, as a test to paste')
    .argument('<domain.xml>', 'a file, as `virsh dumpxml` or `virt-install --print-xml` write it')
    .option('--json', 'print the options, and what was left out, as JSON')
    .action(async (path: string, flags: { json?: boolean }) => {
      const { importLibvirt } = await import('./import.js')
      process.exitCode = await importLibvirt(path, { json: flags.json === true })
    })

  program
    .command('ps')
    .description('list the guests that run on this host: those of tests, and those that were left running')
    .option('--json', 'print the list as JSON')
    .action(async (options: { json?: boolean }) => {
      const { listGuests } = await import('./ps.js')
      process.exitCode = await listGuests({ json: options.json === true })
    })

  program
    .command('ssh')
    .description('open a shell in a guest that runs, or run one command in it and end with its exit code')
    .argument('<name>', NAME_HELP)
    .argument('[command...]', 'after `--`, as with `withvm run`')
    .option('-l, --user <name>', 'log in as this user')
    .option('-i, --identity <file>', 'log in with this private key')
    .action(async (name: string, command: string[], flags: SshFlags) => {
      const { openSsh } = await import('./ssh.js')
      process.exitCode = await openSsh(name, command, flags)
    })

  program
    .command('console')
    .description('open the serial console of a guest that was left running; Ctrl-] leaves it')
    .argument('<name>', NAME_HELP)
    .action(async (name: string) => {
      const { openConsole } = await import('./console.js')
      process.exitCode = await openConsole(name)
    })

  program
    .command('stop')
    .description('throw guests away that were left running')
    .argument('<name...>', NAME_HELP)
    .action(async (names: string[]) => {
      const { stopGuests } = await import('./stop.js')
      process.exitCode = await stopGuests(names)
    })
  addCacheCommands(program)
  return program
}

const LISTS: readonly ListName[] = ['machines', 'cpus', 'devices']

const NAME_HELP = "a guest's name, as `withvm ps` shows it"

const EXIT_CODE_HELP = `
Exit codes: 0 done; 1 a guest or a command failed; 2 wrong usage; 69 this host cannot do it; 70 a fault in withvm.`

async function main(): Promise<void> {
  const program = buildProgram()
  try {
    await program.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed it: help and version end with 0, all else is a wrong command line.
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

// `withvm doctor | head -1` closes the pipe early; that is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

await main()
