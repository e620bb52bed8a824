import type { Command } from 'commander'
import type { BootFlags } from '../boot.js'
import { addGuestFlags, type GuestFlags } from '../guest-options.js'
import { IMAGE_HELP } from '../image-flags.js'
import { failUsage, formatExamples } from '../usage.js'

const COMMAND_HELP = 'a single word is a shell command line; several words are a program and its arguments'

/**
 * Adds the commands that start a guest, `run` and `boot`, and `import`, which writes a test that
 * does.
 */
export function addNewGuestCommands(program: Command): void {
  addRun(program)
  addBoot(program)
  program
    .command('import')
    .description('convert a libvirt domain to a test, and print the test')
    .argument('<domain.xml>', 'domain file, as written by `virsh dumpxml` or `virt-install --print-xml`')
    .option('--json', 'print the options, and the settings that were not imported, as JSON')
    .addHelpText(
      'after',
      formatExamples([['withvm import web.xml > web.test.ts', 'write a test of a domain']]),
    )
    .action(async (path: string, flags: { json?: boolean }) => {
      const { importLibvirt } = await import('../import.js')
      process.exitCode = await importLibvirt(path, { json: flags.json === true })
    })
}

function addRun(program: Command): void {
  addGuestFlags(program.command('run'))
    .description(
      'run one command in a new guest and exit with its exit code; options of withvm precede the image',
    )
    .usage('[options] <image> <command...>')
    .argument('[image]', IMAGE_HELP)
    .argument('[command...]', COMMAND_HELP)
    .passThroughOptions()
    .addHelpText(
      'after',
      formatExamples([
        ['withvm run tiny uname -a', 'run a program'],
        ["withvm run tiny 'ls /root | wc -l'", 'run a shell command line'],
        ['withvm run -m 1G --internet debian apt-get update', 'set the options of the guest'],
        ['withvm run ./system.qcow2 systemctl is-system-running', 'boot your own image'],
        ["withvm run --from 'qemu-kvm -m 512 -hda linux.img' uname -a", 'boot a QEMU command line'],
      ]),
    )
    .action(async (first: string | undefined, rest: string[], flags: GuestFlags, self: Command) => {
      // With `--from` no image is given, so the first word belongs to the command.
      const image = flags.from === undefined ? first : undefined
      const words = [...(flags.from === undefined || first === undefined ? [] : [first]), ...rest]
      if (image === undefined && flags.from === undefined)
        failUsage(self, 'missing image', await listSources())
      const command = words[0] === '--' ? words.slice(1) : words
      if (words[0]?.startsWith('-') && words[0] !== '--')
        failUsage(self, `option '${words[0]}' after the image: options of withvm precede the image`)
      if (command.length === 0)
        failUsage(self, 'missing command', ['', `For a shell: withvm boot ${image ?? '--from …'}`])
      const { runCommand } = await import('../run.js')
      process.exitCode = await runCommand(image, command, flags)
    })
}

function addBoot(program: Command): void {
  addGuestFlags(program.command('boot'))
    .description('boot a guest and open a shell in it; the guest is discarded when the shell exits')
    .usage('[options] <image>')
    .argument('[image]', IMAGE_HELP)
    .option('-c, --console', 'open the serial console, from the first byte on, instead of a shell over SSH')
    .addHelpText(
      'after',
      formatExamples([
        ['withvm boot debian', 'open a shell in a new guest'],
        ['withvm boot --console tiny', 'watch the boot on the serial console; Ctrl-] exits'],
        ['withvm boot -p 8080:80 debian', 'forward port 8080 of this host to port 80 of the guest'],
      ]),
    )
    .action(async (image: string | undefined, flags: BootFlags, self: Command) => {
      if (image === undefined && flags.from === undefined)
        failUsage(self, 'missing image', await listSources())
      const { bootInteractive } = await import('../boot.js')
      process.exitCode = await bootInteractive(image, flags)
    })
}

/** Returns lines that list what can be booted. */
async function listSources(): Promise<string[]> {
  const { RECIPES } = await import('../../../images/recipes.js')
  return [
    '',
    `Images: ${Object.keys(RECIPES).join(', ')} (built on first use), the path of a disk image, or a URL with --sha256.`,
  ]
}
