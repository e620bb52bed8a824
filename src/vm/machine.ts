import type { GuestAgent } from '../channel/agent/guest-agent.js'
import type { SerialConsole } from '../channel/serial/serial-console.js'
import type { SshKeyPair } from '../channel/ssh/keys.js'
import type { UnixListener } from '../channel/unix-listener.js'
import type { QemuBinary } from '../host/qemu-binary.js'
import type { QemuProcess } from '../qemu/process.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { Keeper } from './keeper.js'
import type { PortReservation } from './port-reservation.js'
import type { Transcript } from './transcript.js'
import type { Workspace } from './workspace.js'

/** What this host gives to a machine. */
export interface MachineHost {
  readonly qemu: QemuBinary
  readonly hasSandbox: boolean
  readonly accelerator: 'kvm' | 'tcg'
  /** How much longer things take here than on a host with KVM; 1 and more. */
  readonly timeFactor: number
}

/** The keys of one machine: made for it, thrown away with it. */
export interface MachineKeys {
  readonly client: SshKeyPair
  readonly host: SshKeyPair
}

/** What of a machine stays the same while it is switched off and on. */
export interface Machine {
  /** Names this machine among all of the host's: part of the names of kept logs. */
  readonly id: string
  readonly spec: MachineSpec
  readonly host: MachineHost
  readonly workspace: Workspace
  /** Where the guest may be left running: whom it is left to. */
  readonly keeper: Keeper | undefined
  readonly listeners: {
    readonly qmp: UnixListener
    readonly serial: UnixListener
    readonly agent: UnixListener
  }
  readonly serial: SerialConsole
  /** What was said to the monitor, and which commands were run in the guest. */
  readonly transcripts: { readonly qmp: Transcript; readonly commands: Transcript }
  readonly agent: GuestAgent
  /** Undefined where the author says how to log in, or the image takes no keys from us. */
  readonly keys: MachineKeys | undefined
  readonly smbiosFiles: readonly string[]
  readonly overlay: string | undefined
  readonly ports: PortReservation
  setPorts(ports: PortReservation): void
  readonly log: (line: string) => void
  /** The QEMU of the newest power-on. */
  readonly process: QemuProcess | undefined
  setProcess(process: QemuProcess): void
}
