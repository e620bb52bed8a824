import type { Command } from 'commander'
import type { VMOptions } from '../spec/options.js'
import { addImageFlags, type ImageFlags, readImageSource } from './image-flags.js'

/** Guest flags of `withvm run` and `withvm boot`, as parsed by commander. */
export interface GuestFlags extends ImageFlags {
  readonly from?: string
  readonly arch?: string
  readonly memory?: string
  readonly cpus?: string
  readonly cpu?: string
  readonly machine?: string
  readonly accel?: string
  readonly runAs?: string
  readonly hostfwd?: readonly string[]
  readonly internet?: boolean
  readonly append?: string
  readonly cold?: boolean
  readonly user?: string
  readonly identity?: string
  readonly quiet?: boolean
}

/** Adds the guest flags to a command. */
export function addGuestFlags(command: Command): Command {
  return addImageFlags(command)
    .option(
      '--from <line>',
      "QEMU command line to boot instead of an image: 'qemu-kvm -m 512 -hda linux.img'",
    )
    .option('--arch <name>', "guest architecture, such as 'aarch64' or 's390x'")
    .option('-m, --memory <size>', "RAM in MiB, or with a unit, such as '1G'")
    .option('--cpus <number>', 'number of CPUs')
    .option('--cpu <model>', 'CPU model')
    .option('-M, --machine <type>', 'machine type')
    .option('--accel <name>', "accelerator: 'auto', 'kvm' or 'tcg'")
    .option('--run-as <user>', "host user that runs QEMU when root starts it: a name, or 'uid:gid'")
    .option(
      '-p, --hostfwd <[host:]guest[/udp]>',
      'forward a port of this host to a port of the guest; repeatable',
      collect,
    )
    .option('--internet', 'allow the guest to access the network of this host')
    .option('--append <arguments>', 'additional kernel arguments')
    .option('--cold', 'boot from power-on, even if a template exists')
    .option('-l, --user <name>', 'log in as this user')
    .option('-i, --identity <file>', 'log in with this private key')
    .option('-q, --quiet', 'suppress progress messages; print only the output of the guest')
}

function collect(value: string, earlier: readonly string[] = []): string[] {
  return [...earlier, value]
}

/** Converts flags to options. launchVM() validates their values with all other options. */
export function readGuestFlags(
  image: string | undefined,
  flags: GuestFlags,
  readKey: (path: string) => string,
): VMOptions {
  const ssh = {
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(flags.identity === undefined ? {} : { privateKey: readKey(flags.identity) }),
  }
  return {
    // Both a command and a shell need SSH.
    ...(flags.from === undefined ? {} : { commandLine: flags.from, ready: 'ssh' }),
    ...(flags.from === undefined && image !== undefined ? { image: readImageSource(image, flags) } : {}),
    ...(flags.arch === undefined ? {} : { arch: flags.arch as VMOptions['arch'] & string }),
    ...(flags.memory === undefined ? {} : { memory: flags.memory }),
    ...(flags.cpus === undefined ? {} : { cpus: Number(flags.cpus) }),
    ...(flags.cpu === undefined ? {} : { cpu: flags.cpu }),
    ...(flags.machine === undefined ? {} : { machine: flags.machine }),
    ...(flags.accel === undefined ? {} : { accel: flags.accel as VMOptions['accel'] & string }),
    ...(flags.runAs === undefined ? {} : { runAs: flags.runAs }),
    ...(flags.append === undefined ? {} : { append: flags.append }),
    ...(flags.cold === true ? { start: 'cold' } : {}),
    ...(flags.internet === undefined ? {} : { network: { internet: true } }),
    ...(flags.hostfwd === undefined ? {} : { hostfwd: flags.hostfwd.map(readForward) }),
    ...(Object.keys(ssh).length === 0 ? {} : { ssh }),
    ...(flags.quiet === true ? { log: () => {} } : {}),
  }
}

/**
 * Parses `80`, `8080:80` and `5353:53/udp`. Text that is not a number becomes NaN, which the
 * validation rejects.
 */
function readForward(text: string) {
  const [ports = '', protocol] = text.split('/')
  const parts = ports.split(':').map(Number)
  const guest = parts.at(-1) as number
  return {
    guest,
    ...(parts.length > 1 ? { host: parts[0] as number } : {}),
    ...(protocol === undefined ? {} : { protocol: protocol as 'tcp' | 'udp' }),
  }
}
