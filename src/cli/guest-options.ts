import type { Command } from 'commander'
import type { VMOptions } from '../spec/options.js'
import type { VM } from '../vm/guest/vm.js'
import { addImageFlags, type ImageFlags, readImageSource } from './image-flags.js'

/** What the command line of `withvm run` and `withvm boot` can say of a guest, as commander gives it. */
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

/** Gives a command the options that describe a guest. */
export function addGuestFlags(command: Command): Command {
  return addImageFlags(command)
    .option(
      '--from <line>',
      "what to boot, as a command line of QEMU: 'qemu-kvm -m 512 -hda linux.img'; in place of an image",
    )
    .option('--arch <name>', "the architecture, as 'aarch64' or 's390x'")
    .option('-m, --memory <size>', "RAM: MiB, or with a unit, as '1G'")
    .option('--cpus <number>', 'how many CPUs')
    .option('--cpu <model>', 'the CPU model')
    .option('-M, --machine <type>', 'the machine type')
    .option('--accel <name>', "'auto', 'kvm' or 'tcg'")
    .option(
      '--run-as <user>',
      "run QEMU as this user of the host, where root starts it: a name, or 'uid:gid'",
    )
    .option(
      '-p, --hostfwd <[host:]guest[/udp]>',
      'forward a port of this host to one of the guest; may be repeated',
      collect,
    )
    .option('--internet', 'let the guest reach the network of this host')
    .option('--append <arguments>', 'more arguments for the kernel')
    .option('--cold', 'boot it, also where it could go on from one that was booted before')
    .option('-l, --user <name>', 'log in as this user')
    .option('-i, --identity <file>', 'log in with this private key')
    .option('-q, --quiet', 'say nothing but what the guest says')
}

function collect(value: string, earlier: readonly string[] = []): string[] {
  return [...earlier, value]
}

/** Turns flags into options; their values are checked with all others, by what starts the guest. */
export function readGuestFlags(
  image: string | undefined,
  flags: GuestFlags,
  readKey: (path: string) => string,
): VMOptions<VM> {
  const ssh = {
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(flags.identity === undefined ? {} : { privateKey: readKey(flags.identity) }),
  }
  return {
    // A command and a shell are both reached by SSH.
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

/** Reads `80`, `8080:80` and `5353:53/udp`. What is no number comes through as one that the check refuses. */
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
