import { Argument, type Command, Option } from 'commander'
import { ARCH_NAMES } from '../../spec/architectures.js'
import type { ListName } from '../list.js'

const LISTS: readonly ListName[] = ['machines', 'cpus', 'devices']

/** Adds the commands about this host: `setup`, `doctor` and `list`. */
export function addHostCommands(program: Command): void {
  program
    .command('setup')
    .description('install missing host packages: QEMU and the tools that build images')
    .option('--check', 'report missing packages without installing them')
    .action(async (options: { check?: boolean }) => {
      const { runSetup } = await import('../setup.js')
      process.exitCode = await runSetup({ checkOnly: options.check === true })
    })

  program
    .command('doctor')
    .description('report what this host supports, and a fix for each problem')
    .option('--json', 'print the report as JSON')
    .option('--fresh', 'probe KVM again instead of using the cached result')
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
    .action(async (what: ListName, device: string | undefined, flags: { arch?: string }, self: Command) => {
      if (device !== undefined && what !== 'devices') self.error('error: only a device has properties')
      const { listHardware } = await import('../list.js')
      process.exitCode = await listHardware(what, device, flags.arch)
    })
}
