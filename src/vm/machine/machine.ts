import type { Lease } from '../../budget/lease.js'
import { GuestAgent } from '../../channel/agent/guest-agent.js'
import { IdentityAgent } from '../../channel/identity-agent/identity-agent.js'
import type { GuestPort } from '../../channel/port/guest-port.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { UnixListener } from '../../channel/unix-listener.js'
import { Mutex } from '../../common/locks/mutex.js'
import { currentWaitLimit, type WaitLimit } from '../../common/wait-limit.js'
import { ANSWER_BYTES } from '../../provisioning/identity-agent/message.js'
import type { ProbedIdentity } from '../../provisioning/probed-identity.js'
import { diskFileNode } from '../../qemu/argv/disks.js'
import type { DiskFile } from '../../qemu/command.js'
import type { QemuProcess } from '../../qemu/process.js'
import type { ImportReport } from '../../spec/import-report.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Keeper } from '../workspace/keeper.js'
import type { Workspace } from '../workspace/workspace.js'
import type { DiskUse } from './disk-use.js'
import { GuestClock } from './guest-clock.js'
import type { GuestPlan, MachineHost, RunSettings, StartedFrom, StartOrigin } from './guest-plan.js'
import type { HostPorts } from './host-ports.js'
import type { MachineFiles } from './machine-files.js'
import type { MachineIdentity } from './machine-identity.js'
import type { MachineServices } from './services.js'
import { Transcript } from './transcript.js'

/** Sockets on which this process listens for the connections of QEMU. */
export interface MachineSockets {
  readonly qmp: UnixListener
  readonly serial: UnixListener
  readonly agent: UnixListener
  readonly identityAgent: UnixListener
  /** In the order of the guest's ports. */
  readonly ports: readonly UnixListener[]
  /** Receives the device state of a guest that is saved as a template. */
  readonly state: UnixListener | undefined
}

/** Parts of a machine that are acquired before it is created. */
export interface MachineParts {
  readonly plan: GuestPlan
  readonly origin: StartOrigin
  /** Lease in the host budget. */
  readonly lease: Lease
  /** Called with the process id of each QEMU as soon as it runs. */
  readonly onProcess: ((pid: number) => void) | undefined
  readonly workspace: Workspace
  /** Keeper of a guest that may be left running; undefined for all others. */
  readonly keeper: Keeper | undefined
  readonly identity: MachineIdentity
  readonly files: MachineFiles
  /** Total space that the disks take on the host. */
  readonly diskUse: DiskUse
  readonly sockets: MachineSockets
  readonly ports: HostPorts
  readonly services: MachineServices
  readonly serial: SerialConsole
  /** Guest ports requested by the test. */
  readonly guestPorts: readonly GuestPort[]
  readonly probed: ProbedIdentity | undefined
}

/**
 * The test that uses a guest, and how it got the guest. A standby changes owner when a test takes
 * it.
 */
export interface GuestOwner {
  readonly startedFrom: StartedFrom
  /** Deadline of waits, which keeps them within the timeout of the test. */
  readonly waitLimit: WaitLimit
  readonly log: (line: string) => void
  readonly importReport: ImportReport
  /** Settings of the run, which children of the guest share. */
  readonly run: RunSettings
}

/** The parts of a guest that outlive a power-on. */
export class Machine {
  /** Unique name on this host. */
  readonly name: string
  readonly spec: MachineSpec
  readonly host: MachineHost
  readonly lease: Lease
  readonly workspace: Workspace
  readonly keeper: Keeper | undefined
  readonly identity: MachineIdentity
  readonly diskUse: DiskUse
  readonly sockets: MachineSockets
  readonly ports: HostPorts
  readonly services: MachineServices
  readonly serial: SerialConsole
  readonly guestPorts: readonly GuestPort[]
  /** Origin of the first power-on. */
  readonly origin: StartOrigin
  /** Held while a fork replaces the overlays of this machine. */
  readonly forking = new Mutex()
  readonly agent = new GuestAgent()
  readonly identityAgent = new IdentityAgent(ANSWER_BYTES)
  readonly clock: GuestClock
  /** Places of the identity in a template or clone whose image contains no identity agent. */
  probed: ProbedIdentity | undefined
  /** If true, the guest got the identity of this machine since its power-on. */
  isIdentitySet = false
  /** Transcripts of QMP and of the commands run in the guest. */
  readonly transcripts = { qmp: new Transcript(), commands: new Transcript() } as const
  readonly #onProcess: ((pid: number) => void) | undefined
  #files: MachineFiles
  #owner: GuestOwner
  #process: QemuProcess | undefined

  constructor(parts: MachineParts) {
    const { plan, origin } = parts
    this.name = plan.name
    this.spec = plan.spec
    this.host = plan.host
    this.clock = new GuestClock(plan.spec.rtc)
    this.lease = parts.lease
    this.#onProcess = parts.onProcess
    this.workspace = parts.workspace
    this.keeper = parts.keeper
    this.identity = parts.identity
    this.#files = parts.files
    this.origin = origin
    this.diskUse = parts.diskUse
    this.sockets = parts.sockets
    this.ports = parts.ports
    this.services = parts.services
    this.serial = parts.serial
    this.guestPorts = parts.guestPorts
    this.probed = parts.probed
    this.#owner = describeOwner(plan.run, origin.startedFrom)
  }

  /** Files that QEMU opens. A fork replaces those of the disks. */
  get files(): MachineFiles {
    return this.#files
  }

  /**
   * Records that QEMU writes to another overlay of a disk now. Index 0 is the system disk.
   */
  replaceOverlay(index: number, file: DiskFile): void {
    const { overlay, disks } = this.#files
    const before = index === 0 ? overlay : disks[index - 1]
    this.mergeOverlay(index, file)
    this.diskUse.leave(diskFileNode(index, before?.layers))
    this.diskUse.add({ path: file.path, node: diskFileNode(index, file.layers) })
  }

  /** Records that an overlay has other layers now. */
  mergeOverlay(index: number, file: DiskFile): void {
    const { disks } = this.#files
    this.#files =
      index === 0
        ? { ...this.#files, overlay: file }
        : { ...this.#files, disks: disks.map((disk, at) => (at === index - 1 ? file : disk)) }
  }

  get owner(): GuestOwner {
    return this.#owner
  }

  /** If true, the guest is saved as a template. */
  get isTemplate(): boolean {
    return this.sockets.state !== undefined
  }

  /** QEMU of the latest power-on. */
  get process(): QemuProcess | undefined {
    return this.#process
  }

  /** Records the QEMU of a new power-on. */
  recordProcess(process: QemuProcess): void {
    this.#process = process
    this.keeper?.recordQemu(process.pid)
    this.lease.recordProcess(process.pid)
    this.#onProcess?.(process.pid)
  }

  /** Hands the guest to the test of the current context. */
  assign(run: RunSettings, startedFrom: StartedFrom): void {
    this.#owner = describeOwner(run, startedFrom)
  }

  /** Closes all channels to the guest. */
  closeChannels(): void {
    for (const channel of [this.serial, this.agent, this.identityAgent, ...this.guestPorts]) channel.close()
  }
}

function describeOwner(run: RunSettings, startedFrom: StartedFrom): GuestOwner {
  const { log, importReport } = run
  return { startedFrom, waitLimit: currentWaitLimit(), log, importReport, run }
}
