import type { Duration } from '../common/duration.js'
import type { MemorySize } from '../common/units.js'
import type { DebugOptionGroup } from './options/debug.js'
import type { DeviceOptionGroup } from './options/devices.js'
import type { DiskOptionGroup } from './options/disks.js'
import type { DisplayOptionGroup } from './options/display.js'
import type { BootOptionGroup } from './options/firmware.js'
import type { MachineOptions } from './options/machine.js'
import type { NetworkOptionGroup } from './options/network.js'

/** A private key: its text, or the file that contains it. */
export type PrivateKey = string | Buffer | { readonly file: string }

/** SSH login for an image that was not built by withvm. */
export interface SshOptions {
  /** User to log in as. @default the user of `login`, else the image's: `root` */
  readonly user?: string | undefined
  /**
   * Private key as text (OpenSSH or PEM), or the file that contains it.
   * @default a key generated for this run and passed to the guest at boot
   */
  readonly privateKey?: PrivateKey | undefined
  /** Passphrase of an encrypted `privateKey`. @default none */
  readonly passphrase?: string | undefined
  /** Password of the user. @default none: keys only */
  readonly password?: string | undefined
  /** Port of the guest's SSH server. @default 22 */
  readonly port?: number | undefined
  /** Host port that is forwarded to the SSH server. @default a free port */
  readonly hostPort?: number | undefined
}

/**
 * Configuration for cloud-init in the guest, passed on a disk with the label `CIDATA` (data source
 * NoCloud). The run's SSH key, the host key and the host name are added through `meta-data` and
 * `vendor-data`; user data takes precedence over both.
 */
export interface CloudInitOptions {
  /**
   * User data: an object is written as `#cloud-config`. Text is passed unchanged and must start
   * with `#cloud-config`, `#!` or another header of cloud-init. Bytes may be compressed by gzip.
   * @default none
   */
  readonly userData?: string | Buffer | Readonly<Record<string, unknown>> | undefined
  /**
   * Meta data, as an object or YAML. It adds to withvm's meta data or overrides it.
   * @default `instance-id`, `local-hostname` and `public-keys` of this run
   */
  readonly metaData?: string | Readonly<Record<string, unknown>> | undefined
  /**
   * Network configuration, version 1 or 2, as an object or YAML.
   * @default none: cloud-init uses DHCP on the first card
   */
  readonly networkConfig?: string | Readonly<Record<string, unknown>> | undefined
}

/** Login on the guest's serial console. */
export interface LoginOptions {
  /** User name. */
  readonly user: string
  /** Password of the user, also entered for `sudo`. @default none: a user without a password */
  readonly password?: string | undefined
  /** Pattern of the shell prompt, matched against the last line. @default /[#$%>] ?$/ */
  readonly prompt?: RegExp | undefined
}

/**
 * Time limits. Default limits assume a host with KVM and are scaled up on slower hosts; given
 * limits are used unchanged.
 */
export interface TimeoutOptions {
  /**
   * Limit of the whole start, until the guest is ready.
   * @default none: each stage of the start has its own limit
   */
  readonly start?: Duration | undefined
  /** Limit of the body of `withVM()`. @default none */
  readonly body?: Duration | undefined
  /** Limit of each command in the guest. @default none */
  readonly command?: Duration | undefined
  /** Limit of an orderly shutdown or reboot. @default '20s', scaled up on slower hosts */
  readonly shutdown?: Duration | undefined
}

/**
 * Limits on the host resources a guest may use. A guest that exceeds a limit is stopped, and the
 * test fails with an error that names the limit.
 */
export interface LimitOptions {
  /**
   * Total size of changes to all disks, including checkpoints and the packet capture of a network
   * boot: MiB, or with a unit: `'2G'` (QMP: `block-set-write-threshold`).
   * @default '16G'
   */
  readonly disk?: MemorySize | undefined
  /**
   * Total output on the serial console: MiB, or with a unit: `'64M'`. The default equals six hours
   * on a 115,200 baud line.
   * @default '256M'
   */
  readonly console?: MemorySize | undefined
}

/**
 * Condition for a guest to be ready:
 * - `'ssh'`: an SSH command succeeds
 * - `'cloud-init'`: cloud-init has finished without an error, and an SSH command succeeds
 * - `'agent'`: the guest agent responds
 * - `'login'`: a user is logged in on the serial console (see the option `login`)
 * - `'none'`: no condition
 * - a RegExp: the console output matches it
 * - a function: it resolves
 */
export type ReadyOption<VM = never> =
  | 'ssh'
  | 'cloud-init'
  | 'agent'
  | 'login'
  | 'none'
  | RegExp
  | ((vm: VM) => unknown)

/** Start, readiness, limits and artifacts of a guest. */
export interface RunOptions<VM = never> {
  /**
   * QEMU command line in shell syntax: `'qemu-kvm -m 512 -hda linux.img'`. It is converted to
   * options, and arguments without a corresponding option to `qemuArgs`. Other options override it.
   * `vm.importReport` lists replaced arguments, for example flags that QEMU no longer supports. A
   * guest of a custom image is ready as soon as QEMU runs, unless `ssh` or `ready` is set.
   * @default none
   */
  readonly commandLine?: string | undefined
  /**
   * libvirt domain: the path of its XML, or the XML itself. It is converted to options; other
   * options override it. `vm.importReport` lists settings that were not imported.
   * @default none
   */
  readonly libvirtXML?: string | undefined
  /**
   * Name of the guest in messages, and its host name: letters, digits, `.`, `_`, `-`, at most 60
   * characters (QEMU: `-name`).
   * @default the image's name
   */
  readonly name?: string | undefined
  /**
   * QEMU program: a path or a name.
   * @default `WITHVM_QEMU`, else `qemu-system-x86_64`, else the names that distributions use
   */
  readonly qemu?: string | undefined
  /**
   * User that runs QEMU and its helper processes if root starts the guest: a user name, `uid` or
   * `uid:gid` (QEMU: `-runas`). The user must have access to the images, kernels and folders of the
   * guest. A cache below `/root` is not accessible to other users: set `WITHVM_CACHE` to another
   * folder.
   * @default the user who runs the test
   */
  readonly runAs?: string | undefined
  /**
   * Configuration for cloud-init in the guest (QEMU: a read-only `-drive` after all others).
   * `false` attaches no disk for it.
   * @default the run's key and a host name for a custom disk image; none for a recipe or a root
   *   file system
   */
  readonly cloudInit?: CloudInitOptions | false | undefined
  /**
   * Logs in on the serial console, for an image that accepts a key in no other way. The login
   * installs the run's key for the user of `ssh` and reads the guest's host key; after that, SSH is
   * used. With `ssh: false`, the console stays logged in.
   * @default none
   */
  readonly login?: LoginOptions | undefined
  /**
   * SSH login. `false` for a guest without an SSH server.
   * @default the image's user, with a key generated for this run
   */
  readonly ssh?: SshOptions | false | undefined
  /**
   * `warm` restores the guest from a template, with its own names, keys, random numbers and clock.
   * `cold` boots from power-on, for tests of booting. If a warm start is not possible, the guest
   * boots cold and `vm.startedFrom` gives the reason.
   * @default 'warm' if the image supports it, as `tiny` does
   */
  readonly start?: 'warm' | 'cold' | undefined
  /**
   * Identity of a clone. `own`: each clone has its own names, keys, random numbers and clock, which
   * requires an image with an identity agent. `shared`: clones continue as exact copies, with equal
   * random numbers and the clock of the template. This works for any guest, also for a kernel
   * without an image, but must be stated: it requires `start: 'warm'`, and `ssh: false` or a login
   * in `ssh`.
   * @default 'own'
   */
  readonly identity?: 'own' | 'shared' | undefined
  /**
   * If true, keeps a standby for the next guest with the same options, which then starts
   * immediately. A standby is prepared with idle CPU time, and only if enough memory is free.
   * @default true in Vitest, elsewhere from the second guest with the same options on; false with
   *   `tmpdir` and in worker threads
   */
  readonly standby?: boolean | undefined
  /**
   * Condition for the guest to be ready.
   * @default 'none' with `debug.paused`; without SSH (`ssh: false`, or `netboot` but neither
   *   `image` nor `ssh`): 'login' if `login` is set, else 'none'; 'cloud-init' with `cloudInit`;
   *   otherwise 'ssh'
   */
  readonly ready?: ReadyOption<VM> | undefined
  /** Time limits. @default each stage of a start has its own limit */
  readonly timeouts?: TimeoutOptions | undefined
  /** Limits on the host resources the guest may use. @default '16G' of disk, '256M' of console */
  readonly limits?: LimitOptions | undefined
  /** Signal that aborts the start or the body and discards the guest. @default none */
  readonly signal?: AbortSignal | undefined
  /**
   * Parent folder of the run's folder (overlay, logs, sockets).
   * @default the system's temporary folder
   */
  readonly tmpdir?: string | undefined
  /**
   * Folder for the artifacts (logs) of a guest that failed. `false` keeps none.
   * @default `WITHVM_ARTIFACTS`, else `test-results/withvm` for a test of `withvm/vitest`, else
   * none
   */
  readonly artifacts?: string | false | undefined
  /**
   * If true, the artifacts include the guest's memory as `memory.elf`. It is as large as the RAM
   * and contains all secrets of the guest (QMP: `dump-guest-memory`).
   * @default false
   */
  readonly memoryDump?: boolean | undefined
  /**
   * If true, a guest that fails keeps running for one hour, or for the given time, so that `withvm
   * ssh` and `withvm console` can connect to it. After Ctrl-C, no guest keeps running.
   * @default `WITHVM_KEEP`, else false
   */
  readonly keepOnFailure?: boolean | Duration | undefined
  /**
   * Additional QEMU arguments, appended unchanged. Relative paths are resolved in the run's folder.
   * @default none
   */
  readonly qemuArgs?: readonly string[] | undefined
  /** Receives progress messages while a guest starts. @default standard error */
  readonly log?: ((line: string) => void) | undefined
}

/** Options of a guest. All have defaults: `{}` boots the image `tiny`. */
export interface VMOptions<VM = never>
  extends DiskOptionGroup,
    MachineOptions,
    BootOptionGroup,
    NetworkOptionGroup,
    DisplayOptionGroup,
    DeviceOptionGroup,
    DebugOptionGroup,
    RunOptions<VM> {}
