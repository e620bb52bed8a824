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

/** Properties of the host that a machine depends on. */
export interface MachineHost {
  readonly qemu: QemuBinary
  readonly hasSandbox: boolean
  readonly accelerator: 'kvm' | 'tcg'
  /** Factor by which this host is slower than a host with KVM; at least 1. */
  readonly timeFactor: number
  /** Files of the UEFI firmware, for a machine that uses it. */
  readonly firmware?: UefiFiles | undefined
  /** Path of the program swtpm, for a machine with a TPM. */
  readonly swtpm?: string | undefined
  /** User that QEMU and its helpers run as; undefined for the user of this process. */
  readonly user?: HostUser | undefined
}

/** SSH keys of one machine, created for it and discarded with it. */
export interface MachineKeys {
  readonly client: SshKeyPair
  readonly host: SshKeyPair
}

/** Values that differ between machines started from the same image. */
export interface MachineIdentity {
  /** MAC address of the network card, for example `52:54:00:12:34:56`. */
  readonly mac: string
  /** MAC addresses of the other network cards, in their order. */
  readonly furtherMacs: readonly string[]
  /** 32 hexadecimal digits. */
  readonly machineId: string
}

/** Files of a saved snapshot, from which clones are restored. */
export interface MachineSnapshot {
  /** Empty overlay on top of the snapshot's disk. Undefined without a disk. */
  readonly overlay: string | undefined
  /** Log of the serial console up to the snapshot. */
  readonly serialLog: string
  /** Content of the RAM. */
  readonly memory: string
  /** State of devices and vCPUs. */
  readonly state: string
}

/** Files that each contain a password. */
export interface ScreenSecrets {
  readonly vncSecretFile: string | undefined
  readonly spiceSecretFile: string | undefined
}

/** Kind of start of a guest: cold boot, template or standby. */
export type StartedFrom =
  | {
      /** The guest was booted from power-on. */
      readonly kind: 'cold'
      /** Reason why a warm start was not possible. */
      readonly reason?: string
    }
  | {
      /**
       * The guest was restored from a template, or it was a standby, restored before and then only
       * resumed.
       */
      readonly kind: 'template' | 'standby'
      /** Name of the template as listed by `withvm templates ls`. */
      readonly template: string
      /** Time to boot and save the template, milliseconds; undefined if the template already existed. */
      readonly buildMs?: number | undefined
    }

/** The parts of a guest that outlive a power-on. */
export interface Machine {
  /** Unique id on this host, used in the names of saved logs. */
  readonly id: string
  readonly spec: MachineSpec
  /**
   * Deadline of waits, which keeps them within the timeout of the test that currently uses the
   * guest.
   */
  waitLimit: WaitLimit
  startedFrom: StartedFrom
  /** If true, the guest is saved as a template. */
  readonly isTemplate: boolean
  /** Socket that receives the device state of a guest that is saved as a template. */
  readonly stateListener: UnixListener | undefined
  readonly host: MachineHost
  /** Lease in the host budget. */
  readonly lease: Lease
  readonly workspace: Workspace
  /** Keeper of a guest that may be left running; undefined for all others. */
  readonly keeper: Keeper | undefined
  readonly listeners: {
    readonly qmp: UnixListener
    readonly serial: UnixListener
    readonly agent: UnixListener
    readonly identityAgent: UnixListener
  }
  /** Guest ports requested by the test, each with the socket on which this process listens. */
  readonly guestPorts: ReadonlyArray<{ readonly listener: UnixListener; readonly port: GuestPort }>
  readonly serial: SerialConsole
  /** Transcripts of QMP and of the commands run in the guest. */
  readonly transcripts: { readonly qmp: Transcript; readonly commands: Transcript }
  readonly agent: GuestAgent
  readonly identityAgent: IdentityAgent
  readonly identity: MachineIdentity
  /** Undefined if the test specifies its own login, or the image accepts no keys from the run. */
  readonly keys: MachineKeys | undefined
  /** Host key on the guest's disk, as read from its console. */
  hostKeyOfConsole: Buffer | undefined
  readonly smbiosFiles: readonly string[]
  /** The image's initrd with the credentials of the run, if the image receives them that way. */
  readonly initrd: string | undefined
  readonly overlay: string | undefined
  /** ACPI table of the watchdog, in the run's folder. */
  readonly watchdogTable: string | undefined
  /** Seed disk for cloud-init, in the run's folder. */
  readonly seedDisk: string | undefined
  /** Server of the network boot; undefined without one. */
  readonly netboot: NetbootServer | undefined
  /** Servers behind the addresses of `guestfwd`. */
  readonly forwards: GuestForwards
  /** File in the run's folder. */
  readonly diskSecretFile: string | undefined
  /** Files in the run's folder with the passwords of VNC and SPICE. */
  readonly screenSecrets: ScreenSecrets
  /** Files of the disks other than the system disk; undefined for an empty drive. */
  readonly disks: ReadonlyArray<DiskFile | undefined>
  /** Total space that the disks take on the host. */
  readonly diskUse: DiskUse
  /** Firmware, with this machine's own UEFI variables. */
  readonly firmware: UefiFiles | undefined
  readonly tpm: TpmEmulator | undefined
  readonly ports: PortReservation
  setPorts(ports: PortReservation): void
  log: (line: string) => void
  translated: readonly Translation[]
  notCarriedOver: readonly NotCarriedOver[]
  /** QEMU of the latest power-on. */
  readonly process: QemuProcess | undefined
  setProcess(process: QemuProcess): void
}
