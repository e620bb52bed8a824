import type { GuestForwardSpec } from '../spec/guest-forward.js'

/** Program and arguments, which are executed without a shell. */
export interface QemuCommand {
  /** Program. */
  readonly file: string
  /** Arguments. */
  readonly args: readonly string[]
  /** @internal File descriptor for the standard input. @default none */
  readonly stdin?: number
  /** @internal If true, the program draws on the terminal of this process. @default false */
  readonly usesTerminal?: boolean
}

/** Layers that forks of a guest have frozen below the present overlay of a disk. */
export interface FrozenLayers {
  /** Number of overlays that this one has followed. It is part of the names of block nodes. */
  readonly generation: number
  /** Names of the layers in the folder of the run, the lowest one first. */
  readonly files: readonly string[]
}

/** File that QEMU opens as a disk. */
export interface DiskFile {
  readonly path: string
  readonly format: string
  /** File with the secret of the disk or its backing file, if encrypted. */
  readonly secretFile?: string | undefined
  /** Frozen layers between the file and its image. @default none */
  readonly layers?: FrozenLayers | undefined
}

/** Values of a network boot that are specific to a run. */
export interface NetbootWiring {
  /** Folder of QEMU's TFTP server. */
  readonly folder: string
  /** File for the capture of the guest's network traffic. */
  readonly captureFile: string
  /** Command that QEMU starts for each connection to the HTTP server. */
  readonly relayCommand: string | undefined
  /** True if the network is first in the boot order of this power-on. */
  readonly isFirst: boolean
}

/** Values that are specific to a run: accelerator, sockets, overlay, ports. */
export interface Wiring {
  readonly qemuPath: string
  readonly accelerator: 'kvm' | 'tcg'
  readonly sandbox: boolean
  /** Overlay of the system disk. */
  readonly overlay: DiskFile | undefined
  /** File of each disk of the spec, in order; undefined for an empty drive. */
  readonly disks?: ReadonlyArray<DiskFile | undefined>
  /** Firmware code, and the guest's own copy of the firmware variables. */
  readonly firmware?: { readonly code: DiskFile; readonly vars: DiskFile } | undefined
  /** Control socket of the TPM emulator. */
  readonly tpmSocket?: string | undefined
  /** Seed disk for cloud-init. */
  readonly seedDisk?: string | undefined
  /** File with the password of VNC clients. */
  readonly vncSecretFile?: string | undefined
  /** File with the password of SPICE clients. */
  readonly spiceSecretFile?: string | undefined
  readonly spiceSocket?: string | undefined
  /** Socket of QEMU's GDB server, if it uses no port. */
  readonly gdbSocket?: string | undefined
  readonly qmpSocket: string
  readonly serialSocket: string
  /**
   * Log of the serial console. Not written by QEMU: its path in the command line identifies the
   * folder of the run.
   */
  readonly serialLog: string
  readonly agentSocket: string
  readonly identityAgentSocket: string
  /** Socket on which this process listens for each port of the spec, in order. */
  readonly portSockets?: readonly string[]
  /** MAC address of the first card, through which the guest is reached. */
  readonly mac: string
  /** MAC addresses of the other cards, in order. */
  readonly furtherMacs?: readonly string[]
  /**
   * Files with one SMBIOS OEM string each: their content is secret and must not be in the command
   * line.
   */
  readonly smbiosFiles: readonly string[]
  /** Initrd with the data of this run, instead of the spec's. */
  readonly initrd?: string | undefined
  /** ACPI table that describes the watchdog, relative to QEMU's working directory. */
  readonly watchdogTable?: string | undefined
  /**
   * Frequency of the guest's time-stamp counter, for a kernel of the image; undefined if the kernel
   * measures it.
   */
  readonly tscKhz?: number | undefined
  /** Host port of each port forward of the spec, in order. */
  readonly hostPorts: readonly number[]
  /** Command that QEMU starts for each connection to an address of the spec's `guestfwd`. */
  readonly forwardCommands?: ReadonlyMap<GuestForwardSpec, string>
  /** Values of the network boot. */
  readonly netboot?: NetbootWiring | undefined
  /**
   * Files of the guest's RAM, one for each NUMA node. If `isWritten`, the guest becomes a template,
   * and its writes go to the files.
   */
  readonly memoryFiles?: { readonly paths: readonly string[]; readonly isWritten: boolean } | undefined
  /** If true, device state and RAM are restored by QMP's `migrate-incoming`. */
  readonly isIncoming?: boolean
  /** If true, a PC has a generation ID, which differs in each clone. */
  readonly hasGenerationId?: boolean
}
