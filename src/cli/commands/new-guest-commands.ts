import type { Command } from 'commander'
import type { BootFlags } from '../boot.js'
import { addGuestFlags, type GuestFlags } from '../guest-options.js'
import { IMAGE_HELP } from '../image-flags.js'

/**
 * Adds the commands that start a guest, `run` and `boot`, and `import`, which writes a test that
 * does.
 */
export function addNewGuestCommands(program: Command): void {
  addGuestFlags(program.command('run'))
    .description('run one command in a new guest and exit with its exit code')
    .argument('[image]', IMAGE_HELP)
    .argument(
      '[command...]',
      'after `--`: a single word is a shell command line; several words are a program and its arguments',
    )
    .action(async (image: string | undefined, command: string[], flags: GuestFlags, self: Command) => {
      const { runCommand } = await import('../run.js')
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
      const { bootInteractive } = await import('../boot.js')
      process.exitCode = await bootInteractive(image, flags)
    })

  program
    .command('import')
    .description('convert a libvirt domain to a test, and print the test')
    .argument('<domain.xml>', 'domain file, as written by `virsh dumpxml` or `virt-install --print-xml`')
    .option('--json', 'print the options, and the settings that were not imported, as JSON')
    .action(async (path: string, flags: { json?: boolean }) => {
      const { importLibvirt } = await import('../import.js')
      process.exitCode = await importLibvirt(path, { json: flags.json === true })
    })
}
