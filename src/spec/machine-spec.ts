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

/** A port forward. If `host` is undefined, a free port is used. */
export interface PortForward {
  readonly protocol: 'tcp' | 'udp'
  readonly bind: string
  readonly host: number | undefined
  readonly guest: number
}

/** SSH login of the guest. */
export interface SshSpec {
  readonly user: string
  readonly guestPort: number
  /**
   * Login given in the options. Undefined: the run generates a key and passes it to the guest at
   * boot.
   */
  readonly login: SshLogin | undefined
}

/** Key or password given in the options. */
export interface SshLogin {
  /** The key itself; content of the file if the options name one. */
  readonly privateKey?: string | Buffer | undefined
  readonly passphrase?: string | undefined
  readonly password?: string | undefined
}

/** Time limits given in the options, in milliseconds. They are not scaled. */
export interface TimeoutSpec {
  readonly startMs: number | undefined
  readonly bodyMs: number | undefined
  readonly commandMs: number | undefined
  readonly shutdownMs: number | undefined
}

/** A network card and its network. */
export interface NetworkSpec {
  readonly model: string
  readonly id: string | undefined
  readonly address: string | undefined
  readonly vectors: number | undefined
  readonly mac: string | undefined
  readonly bootIndex: number | undefined
  /** TAP interface or LAN that the card is attached to. Undefined: its own user-mode network. */
  readonly link: { readonly tap: string } | { readonly hub: string } | undefined
  readonly internet: boolean
  /** Host services at addresses of the guest's network. */
  readonly guestForwards: readonly GuestForwardSpec[]
  /** Folder that the guest can mount over SMB. */
  readonly sharedFolder: string | undefined
  readonly tftp: string | undefined
  readonly bootfile: string | undefined
  /** Addresses of the user-mode network. Undefined: QEMU's defaults. */
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

/** Firmware of the machine. */
export type FirmwareSpec =
  | {
      readonly type: 'bios'
      /** Undefined: QEMU's default, or firmware given in `disks` or `qemuArgs`. */
      readonly file: string | undefined
    }
  | { readonly type: 'uefi'; readonly secureBoot: boolean; readonly vars: string | undefined }

/** The display and its servers. */
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

/** Optional devices. None is present by default. */
export interface DeviceSpec {
  readonly sound: 'ac97' | 'es1370' | 'ich6' | 'ich9' | 'usb' | undefined
  readonly usb: boolean
  /** If true, the machine is prepared for hot-plug. */
  readonly hotplug: boolean
  readonly rng: boolean
  readonly balloon: boolean
  readonly watchdog: Required<WatchdogOptions> | undefined
  readonly others: readonly DeviceOptions[]
}

/**
 * Complete, validated description of one machine. Only facts known at run time are left undefined.
 */
export interface MachineSpec {
  readonly name: string
  /**
   * `auto`: warm if this guest can start from a template. `warm`: the same, and a cold boot is
   * reported.
   */
  readonly start: 'auto' | 'warm' | 'cold'
  /** `shared`: clones are exact copies of their template. */
  readonly identity: 'own' | 'shared'
  readonly accel: AccelOption
  readonly qemu: string | undefined
  readonly arch: GuestArch
  readonly machine: string
  /** Undefined: the default of the architecture for the selected accelerator. */
  readonly cpu: string | undefined
  readonly cpus: number
  readonly topology: Omit<CpuTopology, 'count'>
  readonly memoryBytes: number
  /** Room for hot-plugged memory. */
  readonly memoryGrowth: { readonly maxBytes: number; readonly slots: number } | undefined
  /** Backing of the guest's RAM on the host. */
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
        /** If true, the kernel is given in the options. If false, it is the image's own. */
        readonly isCustom: boolean
        readonly initrd: string | undefined
        readonly dtb: string | undefined
        readonly append: string
      }
    | undefined
  readonly image: BaseImage | undefined
  readonly systemDisk: SystemDiskSpec
  /** Additional disks. */
  readonly disks: readonly DiskSpec[]
  /** First card, which connects the guest to the host. */
  readonly network: NetworkSpec
  readonly furtherNetworks: readonly NetworkSpec[]
  readonly display: DisplaySpec
  readonly devices: DeviceSpec
  /** Character devices in addition to the console. */
  readonly ports: ReadonlyArray<Required<PortOptions>>
  readonly debug: DebugOptions
  /** Files served over TFTP and HTTP. Undefined: none. */
  readonly netboot: NetbootSpec | undefined
  /** All port forwards. The forward for SSH, if any, is the first. */
  readonly forwards: readonly PortForward[]
  readonly ssh: SshSpec | undefined
  /** Content of the cloud-init disk; undefined without this disk. */
  readonly cloudInit: CloudInitSpec | undefined
  /** Login on the serial console. */
  readonly login: LoginOptions | undefined
  readonly ready: ReadyOption
  readonly timeouts: TimeoutSpec
  /** Limits on the host resources the guest may use. */
  readonly limits: { readonly diskBytes: number; readonly consoleBytes: number }
  readonly qemuArgs: readonly string[]
}
