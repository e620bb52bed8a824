import { Argument, type Command, Option } from 'commander'
import { ARCH_NAMES } from '../../spec/architectures.js'
import type { InitFlags } from '../init/init.js'
import type { ListFlags, ListName } from '../list.js'
import { formatExamples } from '../usage.js'

const LISTS: readonly ListName[] = ['machines', 'cpus', 'devices']

/** Adds the commands about a project and this host: `init`, `setup`, `doctor` and `list`. */
export function addHostCommands(program: Command): void {
  addInitCommand(program)
  program
    .command('setup')
    .description('install missing host packages: QEMU and the tools that build images')
    .option('--check', 'report missing packages without installing them')
    .addHelpText('after', formatExamples([['withvm setup --check', 'only report what is missing']]))
    .action(async (options: { check?: boolean }) => {
      const { runSetup } = await import('../setup.js')
      process.exitCode = await runSetup({ checkOnly: options.check === true })
    })

  program
    .command('doctor')
    .description('report what this host supports, and a fix for each problem')
    .option('--json', 'print the report as JSON')
    .option('--fresh', 'probe KVM again instead of using the cached result')
    .addHelpText(
      'after',
      formatExamples([['withvm doctor --json | jq -r .facts.accelerator', 'print kvm or tcg']]),
    )
    .action(async (options: { json?: boolean; fresh?: boolean }) => {
      const { runDoctor } = await import('../doctor.js')
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
    .option('--json', 'print the list as JSON')
    .addHelpText(
      'after',
      formatExamples([
        ['withvm list machines --arch aarch64', 'list the values of --machine'],
        ['withvm list devices virtio-rng-pci', 'list the properties of a device'],
      ]),
    )
    .action(async (what: ListName, device: string | undefined, flags: ListFlags, self: Command) => {
      if (device !== undefined && what !== 'devices') self.error('error: only a device has properties')
      const { listHardware } = await import('../list.js')
      process.exitCode = await listHardware(what, device, flags)
    })
}

const INIT_HELP = `
Writes vitest.config.ts, tsconfig.json, a first test, a workflow of GitHub Actions, .gitignore, and
package.json if it is missing. Existing files are kept; only missing lines of .gitignore are added.
`

function addInitCommand(program: Command): void {
  program
    .command('init')
    .description('add a first test and its configuration to a project')
    .argument('[folder]', 'folder of the project', '.')
    .option('--tests <folder>', 'folder of the tests, in the project', 'tests')
    .option('--js', 'write JavaScript instead of TypeScript')
    .option('--no-ci', 'write no workflow of GitHub Actions')
    .addHelpText(
      'after',
      INIT_HELP +
        formatExamples([
          ['npx withvm init', 'in the current folder'],
          ['npx withvm init vm-tests', 'in another folder'],
          ['npx withvm init --tests test/guest', 'with another folder for the tests'],
          ['npx withvm init --js --no-ci', 'JavaScript, without a workflow'],
        ]),
    )
    .action(async (folder: string, flags: InitFlags) => {
      const { initProject } = await import('../init/init.js')
      process.exitCode = await initProject(folder, flags)
    })
}
