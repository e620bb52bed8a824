import type { Duration } from '../common/duration.js'
import type { MemorySize } from '../common/units.js'
import type { DebugOptionGroup } from './options/debug.js'
import type { DeviceOptionGroup } from './options/devices.js'
import type { DiskOptionGroup } from './options/disks.js'
import type { DisplayOptionGroup } from './options/display.js'
import type { BootOptionGroup } from './options/firmware.js'
import type { MachineOptions } from './options/machine.js'
import type { NetworkOptionGroup } from './options/network.js'

/** A private key: its text, or the file that it is in. */
export type PrivateKey = string | Buffer | { readonly file: string }

/** How to log in by SSH where an image was not made for withvm. */
export interface SshOptions {
  /** The user to log in as. @default that of `login`, else the image's: `root` */
  readonly user?: string
  /** A private key as text (OpenSSH or PEM), or the file that it is in. @default a key made for this run and given to the guest at boot */
  readonly privateKey?: PrivateKey
  /** What opens `privateKey`, where it is encrypted. @default none */
  readonly passphrase?: string
  /** The user's password. @default none: keys only */
  readonly password?: string
  /** The port on which the guest's SSH server listens. @default 22 */
  readonly port?: number
  /** The port of this host that leads to it. @default a free one */
  readonly hostPort?: number
}

/**
 * What cloud-init in the guest is given, by a disk with the label `CIDATA` (its data source NoCloud). The key of the run, the
 * host key and the host name need not be in it: they come by `vendor-data` and `meta-data`, which user data goes before.
 */
export interface CloudInitOptions {
  /**
   * The user data: an object is written as `#cloud-config`; text goes as it is and has to begin with `#cloud-config`, `#!` or
   * another of cloud-init's heads; bytes may be packed by gzip.
   * @default none
   */
  readonly userData?: string | Buffer | Readonly<Record<string, unknown>>
  /** More meta data, or other than ours: an object, or YAML. @default `instance-id`, `local-hostname` and `public-keys` of this run */
  readonly metaData?: string | Readonly<Record<string, unknown>>
  /** The network configuration, version 1 or 2: an object, or YAML. @default none: cloud-init's own, DHCP on the first card */
  readonly networkConfig?: string | Readonly<Record<string, unknown>>
}

/** A user who logs in on the guest's serial console. */
export interface LoginOptions {
  /** The user's name. */
  readonly user: string
  /** The user's password; `sudo` is told it too. @default none: a user who has none */
  readonly password?: string
  /** How the last line looks when the shell waits for a command. @default /[#$%>] ?$/ */
  readonly prompt?: RegExp
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

/** How much of this host a guest may use up. One that passes a limit is stopped, and the test fails with an error that says so. */
export interface LimitOptions {
  /** How much it changes on all of its disks in sum, with its checkpoints and the capture of a network boot: MiB, or with a unit: `'2G'` (QMP: `block-set-write-threshold`). @default 16 GiB */
  readonly disk?: MemorySize
  /** What it prints on its serial console, in all. 256 MiB are six hours of a real line of 115,200 baud. @default 256 MiB */
  readonly console?: MemorySize
}

/**
 * When a guest counts as ready: an SSH command works, cloud-init has done all without an error (and an SSH command works), its
 * agent answers, a user is logged in on the serial console (see the option `login`), a pattern was seen there, at once (`none`),
 * or when a function of yours resolves.
 */
export type ReadyOption<VM = unknown> =
  | 'ssh'
  | 'cloud-init'
  | 'agent'
  | 'login'
  | 'none'
  | RegExp
  | ((vm: VM) => unknown)

/** How a guest is started, used and thrown away. */
export interface RunOptions<VM = unknown> {
  /**
   * A command line of QEMU, as a shell takes it: `'qemu-kvm -m 512 -hda linux.img'`. It is turned into options, and what has no option
   * into `qemuArgs`; options beside it count in place of what it says, and what neither says is as everywhere in withvm. What became of
   * flags that QEMU dropped is in `vm.translated`. A guest of an image of your own counts as ready once QEMU runs, unless `ssh` or `ready` is
   * given. @default none
   */
  readonly commandLine?: string
  /**
   * A domain of libvirt: the path of its XML, or the text itself. It is turned into options; those beside it count in place of what it
   * says. What has no place in them is in `vm.notCarriedOver`. @default none
   */
  readonly libvirtXML?: string
  /** The guest's name in messages and as its host name: letters, digits, `.`, `_`, `-` (QEMU: `-name`). @default the image's name */
  readonly name?: string
  /** The QEMU program, a path or a name. @default `WITHVM_QEMU`, then `qemu-system-x86_64`, then what distributions call it */
  readonly qemu?: string
  /**
   * As whom QEMU and what helps it run, where root starts the guest: a user's name, `uid`, or `uid:gid` (QEMU: `-runas`). That user has to
   * reach the images, kernels and folders of the guest: a cache below `/root` is closed to others, WITHVM_CACHE names another.
   * @default who runs the test
   */
  readonly runAs?: string
  /**
   * What cloud-init in the guest is given (QEMU: a read-only `-drive` behind all others). `false`: no such disk.
   * @default for a disk image of yours, the key of the run and a host name; for a recipe and a root file system, nothing
   */
  readonly cloudInit?: CloudInitOptions | false
  /**
   * Logs in on the serial console, for an image that takes no key in any other way: the key of the run is installed for the user
   * of `ssh`, the guest's host key is read, and all goes on by SSH. With `ssh: false` the console stays logged in.
   * @default none
   */
  readonly login?: LoginOptions
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
  /**
   * When the guest counts as ready.
   * @default 'ssh'; 'cloud-init' where `cloudInit` is given; where `ssh` is false 'login' with a `login`, else 'none'; 'none' too with `netboot` and no `image` or `ssh`
   */
  readonly ready?: ReadyOption<VM>
  /** How long things may take. @default each stage of a start has its own limit */
  readonly timeouts?: TimeoutOptions
  /** How much of this host the guest may use up. @default 16 GiB of disk, 256 MiB of console */
  readonly limits?: LimitOptions
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
    DisplayOptionGroup,
    DeviceOptionGroup,
    DebugOptionGroup,
    RunOptions<VM> {}
