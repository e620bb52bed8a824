import type { Lease } from '../../budget/lease.js'
import type { GuestAgent } from '../../channel/agent/guest-agent.js'
import type { IdentityAgent } from '../../channel/identity-agent/identity-agent.js'
import type { GuestPort } from '../../channel/port/guest-port.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { SshKeyPair } from '../../channel/ssh/keys.js'
import type { UnixListener } from '../../channel/unix-listener.js'
import type { HostUser } from '../../common/process/host-user.js'
import type { WaitLimit } from '../../common/wait-limit.js'
import type { UefiFiles } from '../../host/firmware.js'
import type { QemuBinary } from '../../host/qemu-binary.js'
import type { GuestForwards } from '../../net/guest-forwards.js'
import type { NetbootServer } from '../../net/netboot-server.js'
import type { DiskFile } from '../../qemu/command.js'
import type { QemuProcess } from '../../qemu/process.js'
import type { TpmEmulator } from '../../qemu/tpm-emulator.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { NotCarriedOver } from '../../spec/not-carried-over.js'
import type { Translation } from '../../spec/translation.js'
import type { Keeper } from '../workspace/keeper.js'
import type { Workspace } from '../workspace/workspace.js'
import type { DiskUse } from './disk-use.js'
import type { PortReservation } from './port-reservation.js'
import type { Transcript } from './transcript.js'

/** What this host gives to a machine. */
export interface MachineHost {
  readonly qemu: QemuBinary
  readonly hasSandbox: boolean
  readonly accelerator: 'kvm' | 'tcg'
  /** How much longer things take here than on a host with KVM; 1 and more. */
  readonly timeFactor: number
  /** Where UEFI firmware is, for a machine that has it. */
  readonly firmware?: UefiFiles | undefined
  /** The program swtpm, for a machine with a TPM. */
  readonly swtpm?: string | undefined
  /** As whom QEMU and its helpers run; undefined: as who runs this process. */
  readonly user?: HostUser | undefined
}

/** The keys of one machine: made for it, thrown away with it. */
export interface MachineKeys {
  readonly client: SshKeyPair
  readonly host: SshKeyPair
}

/** What this machine has of its own among all that are started from one image. */
export interface MachineIdentity {
  /** The address of its network card, as `52:54:00:12:34:56`. */
  readonly mac: string
  /** Those of its other cards, in their order. */
  readonly furtherMacs: readonly string[]
  /** 32 hexadecimal digits. */
  readonly machineId: string
}

/** What a machine was when it was frozen: the files from which others begin where it had come to. */
export interface MachineSnapshot {
  /** An overlay without a content of its own on the disk that it had. Undefined without a disk. */
  readonly overlay: string | undefined
  /** What its serial console had printed. */
  readonly serialLog: string
  /** Its RAM. */
  readonly memory: string
  /** The state of its devices and processors. */
  readonly state: string
}

/** Files, each with a password. */
export interface ScreenSecrets {
  readonly vncSecretFile: string | undefined
  readonly spiceSecretFile: string | undefined
}

/** How a guest came to be there. */
export type StartedFrom =
  | {
      /** It booted from its power button. */
      readonly kind: 'cold'
      /** Why it was not started warm, where it could have been asked for. */
      readonly reason?: string
    }
  | {
      /** It went on from a guest that was booted before and frozen; or such a one stood by, and had only to be continued. */
      readonly kind: 'template' | 'standby'
      /** The name of the template, as `withvm templates ls` has it. */
      readonly template: string
      /** What it took to boot and freeze the template, milliseconds; undefined where it was there already. */
      readonly buildMs?: number | undefined
    }

/** What of a machine stays the same while it is switched off and on. */
export interface Machine {
  /** Names this machine among all of the host's: part of the names of kept logs. */
  readonly id: string
  readonly spec: MachineSpec
  /** How long its waits may take to end before the test that they belong to: that which has the guest at the moment. */
  waitLimit: WaitLimit
  startedFrom: StartedFrom
  /** Whether it is to be frozen, for others to go on from. */
  readonly isTemplate: boolean
  /** Where the state of one that is to be frozen comes in. */
  readonly stateListener: UnixListener | undefined
  readonly host: MachineHost
  /** Its place in what all guests of this host may take. */
  readonly lease: Lease
  readonly workspace: Workspace
  /** Where the guest may be left running: whom it is left to. */
  readonly keeper: Keeper | undefined
  readonly listeners: {
    readonly qmp: UnixListener
    readonly serial: UnixListener
    readonly agent: UnixListener
    readonly identityAgent: UnixListener
  }
  /** The character devices that the author asked for, each with where we listen for it. */
  readonly guestPorts: ReadonlyArray<{ readonly listener: UnixListener; readonly port: GuestPort }>
  readonly serial: SerialConsole
  /** What was said to the monitor, and which commands were run in the guest. */
  readonly transcripts: { readonly qmp: Transcript; readonly commands: Transcript }
  readonly agent: GuestAgent
  readonly identityAgent: IdentityAgent
  readonly identity: MachineIdentity
  /** Undefined where the author says how to log in, or the image takes no keys from us. */
  readonly keys: MachineKeys | undefined
  /** The host key that the guest has on its disk, as its console told. */
  hostKeyOfConsole: Buffer | undefined
  readonly smbiosFiles: readonly string[]
  /** The image's initial RAM disk with what the run gives to the guest, where it takes it by that. */
  readonly initrd: string | undefined
  readonly overlay: string | undefined
  /** The ACPI table of its watchdog, in the run's own folder. */
  readonly watchdogTable: string | undefined
  /** What cloud-init reads, in the run's own folder. */
  readonly seedDisk: string | undefined
  /** Who gives the guest files by the network; undefined where nobody does. */
  readonly netboot: NetbootServer | undefined
  /** What answers the guest at the addresses of `guestfwd`. */
  readonly forwards: GuestForwards
  /** In the run's own folder. */
  readonly diskSecretFile: string | undefined
  /** In the run's own folder: what VNC and SPICE clients have to know. */
  readonly screenSecrets: ScreenSecrets
  /** The files of the further disks; undefined for an empty drive. */
  readonly disks: ReadonlyArray<DiskFile | undefined>
  /** What its disks take of the host, in sum. */
  readonly diskUse: DiskUse
  /** The firmware, with variables of this machine's own. */
  readonly firmware: UefiFiles | undefined
  readonly tpm: TpmEmulator | undefined
  readonly ports: PortReservation
  setPorts(ports: PortReservation): void
  log: (line: string) => void
  translated: readonly Translation[]
  notCarriedOver: readonly NotCarriedOver[]
  /** The QEMU of the newest power-on. */
  readonly process: QemuProcess | undefined
  setProcess(process: QemuProcess): void
}
