import { type Command, Option } from 'commander'
import type { Duration } from '../common/duration.js'
import { logToStderr } from '../common/log.js'
import { ARCH_NAMES } from '../spec/architectures.js'
import type { VMOptions } from '../spec/options.js'
import { toCliTerms } from './cli-terms.js'
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
  readonly kernel?: string
  readonly initrd?: string
  readonly append?: string
  readonly firmware?: string
  readonly timeout?: string
  readonly cold?: boolean
  readonly user?: string
  readonly identity?: string
  readonly quiet?: boolean
}

const ACCELERATORS = ['auto', 'kvm', 'tcg']
const FIRMWARES = ['bios', 'uefi']

/** Adds the guest flags to a command. */
export function addGuestFlags(command: Command): Command {
  return addImageFlags(command)
    .option(
      '--from <line>',
      "QEMU command line to boot instead of an image: 'qemu-kvm -m 512 -hda linux.img'",
    )
    .addOption(
      new Option('--arch <name>', 'guest architecture (default: that of the host)').choices(ARCH_NAMES),
    )
    .option('-m, --memory <size>', "RAM in MiB, or with a unit, such as '1G'")
    .option('--cpus <number>', 'number of CPUs')
    .option('--cpu <model>', 'CPU model')
    .option('-M, --machine <type>', 'machine type')
    .addOption(
      new Option('--accel <name>', 'accelerator (default: WITHVM_ACCEL, else auto)').choices(ACCELERATORS),
    )
    .option('--run-as <user>', "host user that runs QEMU when root starts it: a name, or 'uid:gid'")
    .option(
      '-p, --hostfwd <[host:]guest[/udp]>',
      'forward a port of this host to a port of the guest; repeatable',
      appendValue,
    )
    .option('--internet', 'allow the guest to access the network of this host')
    .option('--kernel <path>', 'kernel to boot directly, for an image without a boot loader')
    .option('--initrd <path>', 'initrd of that kernel')
    .option('--append <arguments>', 'additional kernel arguments')
    .addOption(new Option('--firmware <name>', 'firmware (default: bios on a PC)').choices(FIRMWARES))
    .option('--timeout <duration>', "time limit of the start, such as '2m' (default: a limit for each stage)")
    .option('--cold', 'boot from power-on, even if a template exists')
    .option('-l, --user <name>', 'log in as this user')
    .option('-i, --identity <file>', 'log in with this private key')
    .option('-q, --quiet', 'suppress progress messages; print only the output of the guest')
}

function appendValue(value: string, earlier: readonly string[] = []): string[] {
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
    ...(flags.cpus === undefined ? {} : { cpus: toNumber(flags.cpus) }),
    ...(flags.cpu === undefined ? {} : { cpu: flags.cpu }),
    ...(flags.machine === undefined ? {} : { machine: flags.machine }),
    ...(flags.accel === undefined ? {} : { accel: flags.accel as VMOptions['accel'] & string }),
    ...(flags.runAs === undefined ? {} : { runAs: flags.runAs }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    ...(flags.initrd === undefined ? {} : { initrd: flags.initrd }),
    ...(flags.append === undefined ? {} : { append: flags.append }),
    ...(flags.firmware === undefined ? {} : { firmware: flags.firmware as 'bios' | 'uefi' }),
    ...(flags.timeout === undefined ? {} : { timeouts: { start: flags.timeout as Duration } }),
    ...(flags.cold === true ? { start: 'cold' } : {}),
    ...(flags.internet === undefined ? {} : { network: { internet: true } }),
    ...(flags.hostfwd === undefined ? {} : { hostfwd: flags.hostfwd.map(readForward) }),
    ...(Object.keys(ssh).length === 0 ? {} : { ssh }),
    log: flags.quiet === true ? () => {} : (line) => logToStderr(toCliTerms(line)),
  }
}

/** Returns the text if it is not a number, so that the validation rejects it as it was written. */
function toNumber(text: string): number {
  return text.trim() === '' || Number.isNaN(Number(text)) ? (text as unknown as number) : Number(text)
}

/** Parses `80`, `8080:80` and `5353:53/udp`. */
function readForward(text: string) {
  const [ports = '', protocol] = text.split('/')
  const parts = ports.split(':').map(toNumber)
  const guest = parts.at(-1) as number
  return {
    guest,
    ...(parts.length > 1 ? { host: parts[0] as number } : {}),
    ...(protocol === undefined ? {} : { protocol: protocol as 'tcp' | 'udp' }),
  }
}
