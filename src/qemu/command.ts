import type { GuestForwardSpec } from '../spec/guest-forward.js'

/** A program and its arguments, as they are given to the kernel: no shell in between. */
export interface QemuCommand {
  readonly file: string
  readonly args: readonly string[]
  /** An open file that the program is given as its standard input. @default none */
  readonly stdin?: number
  /** Whether it draws on the terminal that this process has. @default false */
  readonly usesTerminal?: boolean
}

/** A file that QEMU opens as a disk. */
export interface DiskFile {
  readonly path: string
  readonly format: string
  /** A file with what opens it, or what is below it, where that is encrypted. */
  readonly secretFile?: string | undefined
}

/** What of a network boot only a run knows. */
export interface NetbootWiring {
  /** The folder that QEMU's TFTP server reads. */
  readonly folder: string
  /** The file to which all is written that passes on the guest's wire. */
  readonly captureFile: string
  /** The command to which each connection to the HTTP server is given. */
  readonly relayCommand: string | undefined
  /** Whether the firmware looks at the network first, this time. */
  readonly isFirst: boolean
}

/** What only a run knows: the accelerator, the sockets, the overlay, the ports. */
export interface Wiring {
  readonly qemuPath: string
  readonly accelerator: 'kvm' | 'tcg'
  readonly sandbox: boolean
  readonly overlay: string | undefined
  /** A file with what opens the image below the overlay, where that is encrypted. */
  readonly diskSecretFile?: string | undefined
  /** For each of the spec's disks, in their order: the file that QEMU opens; undefined for an empty drive. */
  readonly disks?: ReadonlyArray<DiskFile | undefined>
  /** Where the firmware lies, and the guest's own copy of its variables. */
  readonly firmware?: { readonly code: DiskFile; readonly vars: DiskFile } | undefined
  /** Where a TPM answers. */
  readonly tpmSocket?: string | undefined
  /** A disk with what cloud-init reads. */
  readonly seedDisk?: string | undefined
  /** Files with what VNC and SPICE clients have to know. */
  readonly vncSecretFile?: string | undefined
  readonly spiceSecretFile?: string | undefined
  readonly spiceSocket?: string | undefined
  /** Where QEMU listens for a GDB that comes by no port. */
  readonly gdbSocket?: string | undefined
  readonly qmpSocket: string
  readonly serialSocket: string
  /** Log of the serial console. QEMU only names it: its folder is the run's. */
  readonly serialLog: string
  readonly agentSocket: string
  readonly identityAgentSocket: string
  /** Where we listen for each of the spec's ports, in their order. */
  readonly portSockets?: readonly string[]
  /** The address of the card by which the guest is reached. */
  readonly mac: string
  /** The addresses of the other cards, in their order. */
  readonly furtherMacs?: readonly string[]
  /** Files, each with one SMBIOS OEM string: their content is secret and must not stand in the command line. */
  readonly smbiosFiles: readonly string[]
  /** The initial RAM disk with what this run gives to the guest, in place of the spec's. */
  readonly initrd?: string | undefined
  /** The ACPI table that describes the watchdog, in QEMU's working directory. */
  readonly watchdogTable?: string | undefined
  /** The frequency of the guest's time-stamp counter, for a kernel of the image's; undefined where the kernel measures it. */
  readonly tscKhz?: number | undefined
  /** The host port of each of the spec's forwards, in their order. */
  readonly hostPorts: readonly number[]
  /** The command that QEMU starts for each connection to an address of the spec's `guestfwd`. */
  readonly forwardCommands?: ReadonlyMap<GuestForwardSpec, string>
  /** How the guest is given files by the network. */
  readonly netboot?: NetbootWiring | undefined
  /** The file that the guest's RAM is in, and whether what the guest writes goes to it. */
  readonly memoryFile?: { readonly path: string; readonly isWritten: boolean } | undefined
  /** The guest's devices and RAM are those of another, which comes by QMP's `migrate-incoming`. */
  readonly isIncoming?: boolean
}
