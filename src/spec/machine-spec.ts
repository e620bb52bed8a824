import type { GuestArch } from './architectures.js'
import type { BaseImage } from './base-image.js'
import type { CloudInitSpec } from './cloud-init.js'
import type { DiskSpec, SystemDiskSpec } from './disk-spec.js'
import type { GuestForwardSpec } from './guest-forward.js'
import type { NetbootSpec } from './netboot-spec.js'
import type { DebugOptions } from './options/debug.js'
import type { DeviceOptions, PortOptions, WatchdogOptions } from './options/devices.js'
import type {
  AccelOption,
  ClockOptions,
  CpuTopology,
  HostNodes,
  MemoryOptions,
  SmbiosOptions,
} from './options/machine.js'
import type { LoginOptions, ReadyOption } from './options.js'

/** One forwarded port. `host` is undefined where any free port will do. */
export interface PortForward {
  readonly protocol: 'tcp' | 'udp'
  readonly bind: string
  readonly host: number | undefined
  readonly guest: number
}

/** How this machine is logged in to. */
export interface SshSpec {
  readonly user: string
  readonly guestPort: number
  /** What the author gave; undefined where the run makes a key and gives it to the guest at boot. */
  readonly login: SshLogin | undefined
}

/** A key or a password of the author's. */
export interface SshLogin {
  /** Where the author named a file, its content. */
  readonly privateKey?: string | Buffer | undefined
  readonly passphrase?: string | undefined
  readonly password?: string | undefined
}

/** How long the run waits, milliseconds, as given by the author: not to be stretched. */
export interface TimeoutSpec {
  readonly startMs: number | undefined
  readonly bodyMs: number | undefined
  readonly commandMs: number | undefined
  readonly shutdownMs: number | undefined
}

/** A network card, and the user-mode network behind it. */
export interface NetworkSpec {
  readonly model: string
  readonly id: string | undefined
  readonly address: string | undefined
  readonly vectors: number | undefined
  readonly mac: string | undefined
  readonly bootIndex: number | undefined
  /** What is behind the card; undefined for a user-mode network of its own. */
  readonly link: { readonly tap: string } | { readonly hub: string } | undefined
  readonly internet: boolean
  /** What answers the guest at addresses of its network. */
  readonly guestForwards: readonly GuestForwardSpec[]
  /** A folder that the guest mounts by SMB. */
  readonly sharedFolder: string | undefined
  readonly tftp: string | undefined
  readonly bootfile: string | undefined
  /** The network's addresses, undefined where they are QEMU's own. */
  readonly addresses: {
    readonly net?: string | undefined
    readonly host?: string | undefined
    readonly dhcpstart?: string | undefined
    readonly dns?: string | undefined
    readonly hostname?: string | undefined
    readonly domainname?: string | undefined
    readonly ipv6?: 'off' | undefined
  }
}

/** What runs before the guest's system. */
export type FirmwareSpec =
  | {
      readonly type: 'bios'
      /** Undefined: QEMU's own, or what the disks and `qemuArgs` bring. */
      readonly file: string | undefined
    }
  | { readonly type: 'uefi'; readonly secureBoot: boolean; readonly vars: string | undefined }

/** The display, and who sees it. */
export interface DisplaySpec {
  readonly window: 'gtk' | 'sdl' | 'curses' | undefined
  readonly grab: 'ctrl-alt-shift' | 'right-ctrl' | undefined
  readonly vga: string | undefined
  readonly vnc:
    | {
        readonly display: number | undefined
        readonly socket: string | undefined
        readonly bind: string
        readonly password: string | undefined
        readonly websocket: boolean | number
      }
    | undefined
  readonly spice:
    | { readonly port: number | undefined; readonly bind: string; readonly password: string | undefined }
    | undefined
  readonly keyboardLayout: string | undefined
  readonly tablet: 'virtio' | 'usb' | undefined
}

/** What else the machine has. Nothing of it is there by default. */
export interface DeviceSpec {
  readonly sound: 'ac97' | 'es1370' | 'ich6' | 'ich9' | 'usb' | undefined
  readonly usb: boolean
  /** Devices may be plugged in while the guest runs. */
  readonly hotplug: boolean
  readonly rng: boolean
  readonly balloon: boolean
  readonly watchdog: Required<WatchdogOptions> | undefined
  readonly others: readonly DeviceOptions[]
}

/** A whole, valid description of one machine: nothing optional is left to decide but what only a run can know. */
export interface MachineSpec<VM = unknown> {
  readonly name: string
  readonly accel: AccelOption
  readonly qemu: string | undefined
  readonly arch: GuestArch
  readonly machine: string
  /** Undefined: the architecture's, for whichever accelerator is chosen. */
  readonly cpu: string | undefined
  readonly cpus: number
  readonly topology: Omit<CpuTopology, 'count'>
  readonly memoryBytes: number
  /** What may be plugged in later. */
  readonly memoryGrowth: { readonly mostBytes: number; readonly slots: number } | undefined
  /** How the host keeps the guest's RAM. */
  readonly memoryBacking: Omit<MemoryOptions, 'size' | 'max' | 'slots'>
  readonly numa: ReadonlyArray<{ readonly memoryBytes: number; readonly cpus: readonly number[] } & HostNodes>
  readonly smbios: SmbiosOptions
  readonly rtc: ClockOptions
  readonly firmware: FirmwareSpec
  readonly tpm: { readonly version: '1.2' | '2.0'; readonly model: 'tis' | 'crb' } | undefined
  readonly bootOrder: string | undefined
  readonly bootOnce: string | undefined
  readonly bootMenu: boolean
  readonly directBoot:
    | {
        readonly kernel: string
        readonly initrd: string | undefined
        readonly dtb: string | undefined
        readonly append: string
      }
    | undefined
  readonly image: BaseImage | undefined
  readonly systemDisk: SystemDiskSpec
  /** The disks beside the system's. */
  readonly disks: readonly DiskSpec[]
  /** The card by which the guest is reached. */
  readonly network: NetworkSpec
  readonly furtherNetworks: readonly NetworkSpec[]
  readonly display: DisplaySpec
  readonly devices: DeviceSpec
  /** Character devices beside the console. */
  readonly ports: ReadonlyArray<Required<PortOptions>>
  readonly debug: DebugOptions
  /** What the guest is given by TFTP and HTTP; undefined where nothing is. */
  readonly netboot: NetbootSpec | undefined
  /** All forwarded ports; the one for SSH first, where there is SSH. */
  readonly forwards: readonly PortForward[]
  readonly ssh: SshSpec | undefined
  /** What the disk for cloud-init has; undefined where there is none. */
  readonly cloudInit: CloudInitSpec | undefined
  /** Who logs in on the serial console. */
  readonly login: LoginOptions | undefined
  readonly ready: ReadyOption<VM>
  readonly timeouts: TimeoutSpec
  /** What a guest may use up of this host. */
  readonly limits: { readonly diskBytes: number; readonly consoleBytes: number }
  readonly qemuArgs: readonly string[]
}
