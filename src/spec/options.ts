import type { Duration } from '../common/duration.js'
import type { DebugOptionGroup } from './options/debug.js'
import type { DeviceOptionGroup } from './options/devices.js'
import type { DiskOptionGroup } from './options/disks.js'
import type { BootOptionGroup } from './options/firmware.js'
import type { MachineOptions } from './options/machine.js'
import type { NetworkOptionGroup } from './options/network.js'

/** How to log in by SSH where an image was not made for withvm. */
export interface SshOptions {
  /** The user to log in as. @default the image's: `root` */
  readonly user?: string
  /** A private key as text (OpenSSH or PEM). @default a key made for this run and given to the guest at boot */
  readonly privateKey?: string | Buffer
  /** The user's password. @default none: keys only */
  readonly password?: string
  /** The port on which the guest's SSH server listens. @default 22 */
  readonly port?: number
  /** The port of this host that leads to it. @default a free one */
  readonly hostPort?: number
}

/** How long things may take. What is not given is for a host with KVM and stretched where the host is slower. */
export interface TimeoutOptions {
  /** The whole start, until ready. @default none: each stage of the start has its own */
  readonly start?: Duration
  /** The body of `withVM()`. @default none */
  readonly body?: Duration
  /** One command in the guest. @default none */
  readonly command?: Duration
  /** An orderly power-off or reboot. @default 20 s, stretched */
  readonly shutdown?: Duration
}

/**
 * When a guest counts as ready: an SSH command works, its agent answers, a pattern was seen on the serial
 * console, at once (`none`), or when a function of yours resolves.
 */
export type ReadyOption<VM = unknown> = 'ssh' | 'agent' | 'none' | RegExp | ((vm: VM) => unknown)

/** How a guest is started, used and thrown away. */
export interface RunOptions<VM = unknown> {
  /**
   * A command line of QEMU, as a shell takes it: `'qemu-kvm -m 512 -hda linux.img'`. It is turned into options, and what has no option
   * into `qemuArgs`; options beside it count in place of what it says, and what neither says is as everywhere in withvm. What became of
   * flags that QEMU dropped is in `vm.translated`. A guest of an image of your own counts as ready once QEMU runs, unless `ssh` or `ready` is
   * given. @default none
   */
  readonly commandLine?: string
  /** The guest's name in messages and as its host name: letters, digits, `.`, `_`, `-` (QEMU: `-name`). @default the image's name */
  readonly name?: string
  /** The QEMU program, a path or a name. @default `WITHVM_QEMU`, then `qemu-system-x86_64`, then what distributions call it */
  readonly qemu?: string
  /** How to log in by SSH. `false`: the guest has no SSH server. @default as the image says, by a key made for this run */
  readonly ssh?: SshOptions | false
  /**
   * `warm`: goes on from a guest that was booted once, as if it were that moment, but with names, keys, random numbers and a
   * clock of its own. `cold`: boots from its power button, for tests about booting. Where `warm` cannot be, it is `cold`,
   * and `vm.startedFrom` says why. @default 'warm' where the image can, as `tiny`
   */
  readonly start?: 'warm' | 'cold'
  /**
   * Whether the next guest like this one is made ready while this one is used, so that it is there at once: with the
   * processor time that is left over, and where there is memory for it. @default true in Vitest, and elsewhere from the second on; false where `tmpdir` is given, and in threads
   */
  readonly standby?: boolean
  /** When the guest counts as ready. @default 'ssh', or 'none' where `ssh` is false */
  readonly ready?: ReadyOption<VM>
  /** How long things may take. @default each stage of a start has its own limit */
  readonly timeouts?: TimeoutOptions
  /** Ends the start or the body, and throws the guest away. @default none */
  readonly signal?: AbortSignal
  /** The folder for the run's own folder (overlay, logs, sockets). @default the system's folder for temporary files */
  readonly tmpdir?: string
  /**
   * The folder in which the logs of a guest that failed are kept; false: nowhere.
   * @default `WITHVM_ARTIFACTS`, else `test-results/withvm` for a test of `withvm/vitest`, else nowhere
   */
  readonly artifacts?: string | false
  /** Whether those logs come with the guest's memory, as `memory.elf`: as big as its RAM, with all secrets of the guest (QMP: `dump-guest-memory`). @default false */
  readonly memoryDump?: boolean
  /**
   * Whether a guest that fails is left running, for an hour or as long as is said, for a person to get into it by
   * `withvm ssh` and `withvm console`. Nothing is left after Ctrl-C. @default `WITHVM_KEEP`, else false
   */
  readonly keepOnFailure?: boolean | Duration
  /** Arguments for QEMU, put last and as they are; a relative path in them starts at the run's folder. @default none */
  readonly qemuArgs?: readonly string[]
  /** Gets the few lines that are said while a guest starts. @default standard error */
  readonly log?: (line: string) => void
}

/** What to boot. Everything has a default: `{}` is the `tiny` guest. */
export interface VMOptions<VM = unknown>
  extends DiskOptionGroup<VM>,
    MachineOptions,
    BootOptionGroup,
    NetworkOptionGroup,
    DeviceOptionGroup,
    DebugOptionGroup,
    RunOptions<VM> {}
