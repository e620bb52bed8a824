import { open } from 'node:fs/promises'
import type { Lease } from '../../budget/lease.js'
import { takeLease, takeStandbyLease } from '../../budget/take-lease.js'
import { CleanupStack } from '../../common/cleanup-stack.js'
import { createDeferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { toDiskError } from '../../common/process/run-tool.js'
import { UsageError, VMError, vmError } from '../../errors.js'
import { buildQemuCommand } from '../../qemu/argv/build-command.js'
import type { QemuCommand } from '../../qemu/command.js'
import { isPortTaken } from '../../qemu/start-failure.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { NotCarriedOver } from '../../spec/not-carried-over.js'
import type { Translation } from '../../spec/translation.js'
import { addEvidence } from '../evidence/diagnostics.js'
import { saveLogs } from '../evidence/saved-logs.js'
import { VM } from '../guest/vm.js'
import { describeGuestKind } from '../machine/guest-kind.js'
import { findTscKhz } from '../machine/host-processor.js'
import type { Machine, MachineHost, MachineSnapshot, StartedFrom } from '../machine/machine.js'
import { reservePorts } from '../machine/port-reservation.js'
import { prepareMachine } from '../machine/prepare.js'
import { restoreGuest } from '../power/restore-state.js'
import { followNetboot } from '../session/follow-netboot.js'
import { watchLimits } from '../session/guest-limits.js'
import { watchKvm } from '../session/kvm-watch.js'
import { Session } from '../session/session.js'

/** How often a port that another program took in between is replaced by another. */
const PORT_TRIES = 5

export interface BootOptions {
  readonly tmpdir: string | undefined
  /** Where the logs of a guest that does not start are kept. */
  readonly artifacts: string | false | undefined
  /** Whether its RAM is kept with them. */
  readonly memoryDump?: boolean | undefined
  /** How long the guest may be left running; undefined: it ends with this process. */
  readonly keepMs: number | undefined
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
  readonly startedFrom: StartedFrom
  /** What became of a command line's parts that are not as they were. */
  readonly translated?: readonly Translation[]
  /** What of a domain of libvirt its options do not have. */
  readonly notCarriedOver?: readonly NotCarriedOver[]
  /** Called with the id of each QEMU as soon as it runs. */
  readonly onProcess?: ((pid: number) => void) | undefined
  /** What the machine goes on from; else it begins at its power button. */
  readonly snapshot?: MachineSnapshot | undefined
  /** A file for the guest's RAM, from which others can go on when it is snapshot. */
  readonly memoryFile?: string | undefined
  /** Where it is to stand by: called when its room is wanted for another. */
  readonly onEvict?: (() => void) | undefined
}

/** A guest that is ready, with what is beneath it. */
export interface BootedGuest {
  readonly vm: VM
  readonly machine: Machine
  /** The newest power-on. */
  readonly session: Session
  /** Its place in what all guests of this host may take. */
  readonly lease: Lease
  /** Resolves when it was thrown away. */
  readonly disposed: Promise<void>
}

/**
 * Waits until there is room for it, acquires a folder, an overlay, ports and keys, starts QEMU, connects, waits until
 * ready. Whatever fails on the way, nothing is left behind.
 *
 * @throws {InfrastructureError} HOST_TOO_SMALL when there can never be room.
 * @throws {InfrastructureError} NO_SPACE, PORT_UNAVAILABLE, QEMU_FAILED, …
 * @throws {GuestError} BOOT_TIMEOUT, GUEST_PANICKED, … with the stage and the console's last lines.
 */
export async function bootMachine(
  spec: MachineSpec<VM>,
  host: MachineHost,
  options: BootOptions,
): Promise<BootedGuest> {
  const cleanup = new CleanupStack()
  const { snapshot, memoryFile, onProcess } = options
  const lease = await takeRoom(spec as MachineSpec, host, options)
  cleanup.defer(() => lease.release())
  let machine: Machine | undefined
  let session: Session | undefined
  let vm: VM | undefined
  const disposed = createDeferred<void>()
  cleanup.defer(() => disposed.resolve())
  try {
    const noteProcess = (pid: number) => {
      lease.noteProcess(pid)
      onProcess?.(pid)
    }
    const settings = { ...options, lease, onProcess: noteProcess }
    const made = await prepareMachine(spec as MachineSpec, host, settings, cleanup)
    machine = made
    const powerOn = async (signal: AbortSignal | undefined, state?: MachineSnapshot) => {
      session = await startSession(made, { memoryFile, snapshot: state }, signal)
      const started = session
      cleanup.defer(() => (made.keeper?.hasGuest ? started.leave() : started.stop('orderly')))
      await followNetboot(made, started)
      if (state !== undefined) await restoreGuest(made, started, signal)
      return started
    }
    const first = await powerOn(options.signal, snapshot)
    cleanup.defer(() => lease.noteUsage())
    vm = new VM(made, { powerOn, dispose: () => cleanup.dispose() }, first)
    await vm.waitUntilReady(options.signal)
    lease.noteReady()
    return {
      vm,
      machine,
      lease,
      disposed: disposed.promise,
      get session() {
        return session ?? first
      },
    }
  } catch (error) {
    const failure = toDiskError(error, 'making the folder of the run')
    try {
      const explained =
        machine === undefined ? failure : await explain(failure, machine, session, { ...options, lease })
      throw vm === undefined ? explained : await keepIfWanted(vm, explained)
    } finally {
      await (vm?.dispose() ?? cleanup.dispose())
    }
  }
}

/** A guest that is to stand by does not wait: where there is no room, there is none. */
async function takeRoom(spec: MachineSpec, host: MachineHost, options: BootOptions): Promise<Lease> {
  const { signal, log, onEvict } = options
  signal?.throwIfAborted()
  const how = { isClone: options.snapshot !== undefined, becomesTemplate: options.memoryFile !== undefined }
  const order = { name: spec.name, kind: describeGuestKind(spec, host, how) }
  if (onEvict === undefined) return takeLease(order, { signal, log })
  const lease = await takeStandbyLease(order, onEvict, signal)
  if (lease === undefined) throw new Error('there is no room for a guest that stands by')
  return lease
}

interface MemoryOrigin {
  readonly memoryFile: string | undefined
  readonly snapshot: MachineSnapshot | undefined
}

/** Starts QEMU; another program may have taken a port since it was chosen, then another is. */
async function startSession(
  machine: Machine,
  origin: MemoryOrigin,
  signal: AbortSignal | undefined,
): Promise<Session> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(machine, origin, signal)
    } catch (error) {
      const { forwards } = machine.spec
      if (signal?.aborted || !isPortTaken(machine.process?.stderr ?? '')) throw error
      if (tries === PORT_TRIES || forwards.every(({ host }) => host !== undefined))
        throw portTaken(machine, error)
      await machine.ports.release()
      machine.setPorts(await reservePorts(forwards))
    }
  }
}

/** The file with the state is open only until QEMU has it. */
async function startOnce(
  machine: Machine,
  origin: MemoryOrigin,
  signal: AbortSignal | undefined,
): Promise<Session> {
  const state = origin.snapshot === undefined ? undefined : await open(origin.snapshot.state, 'r')
  try {
    await machine.tpm?.start()
    const tscKhz = origin.snapshot === undefined ? await findTscKhz(machine) : undefined
    const command = buildCommand(machine, origin, tscKhz)
    const session = await Session.start(
      machine,
      state === undefined ? command : { ...command, stdin: state.fd },
      signal,
    )
    watchKvm(machine, session)
    watchLimits(machine, session)
    return session
  } finally {
    await state?.close()
  }
}

function buildCommand(
  machine: Machine,
  { memoryFile, snapshot }: MemoryOrigin,
  tscKhz: number | undefined,
): QemuCommand {
  const { host, workspace, listeners } = machine
  return buildQemuCommand(machine.spec, {
    qemuPath: host.qemu.path,
    accelerator: host.accelerator,
    sandbox: host.hasSandbox,
    overlay: machine.overlay,
    diskSecretFile: machine.diskSecretFile,
    ...machine.screenSecrets,
    spiceSocket: workspace.socket('spice.sock'),
    gdbSocket: workspace.socket('gdb.sock'),
    disks: machine.disks,
    firmware: machine.firmware,
    tpmSocket: machine.tpm?.socket,
    seedDisk: machine.seedDisk,
    qmpSocket: listeners.qmp.path,
    serialSocket: listeners.serial.path,
    serialLog: workspace.path('serial.log'),
    agentSocket: listeners.agent.path,
    identityAgentSocket: listeners.identityAgent.path,
    portSockets: machine.guestPorts.map(({ listener }) => listener.path),
    mac: machine.identity.mac,
    furtherMacs: machine.identity.furtherMacs,
    smbiosFiles: machine.smbiosFiles,
    initrd: machine.initrd,
    tscKhz,
    watchdogTable: machine.watchdogTable,
    hostPorts: machine.ports.hostPorts,
    forwardCommands: machine.forwards.commands,
    netboot: machine.netboot?.beginPowerOn(),
    memoryFile: chooseMemoryFile({ memoryFile, snapshot }),
    isIncoming: snapshot !== undefined,
  })
}

/** Where it is given a file of its own, that has the snapshot machine's RAM already. */
function chooseMemoryFile({ memoryFile, snapshot }: MemoryOrigin) {
  if (memoryFile !== undefined) return { path: memoryFile, isWritten: true }
  return snapshot === undefined ? undefined : { path: snapshot.memory, isWritten: false }
}

function portTaken(machine: Machine, cause: unknown) {
  const given = machine.spec.forwards.filter(({ host }) => host !== undefined)
  return vmError('PORT_UNAVAILABLE', {
    summary: `QEMU could not listen on a port of this host: ${given.map(({ protocol, bind, host }) => `${protocol} ${bind}:${host}`).join(', ')}.`,
    evidence: [{ label: "QEMU's standard error", text: machine.process?.stderr ?? '' }],
    hint: 'end what listens there (`ss -tulpn` tells), or leave out `host` to get a free port (`vm.hostPort()` tells which).',
    cause,
  })
}

async function explain(
  error: unknown,
  machine: Machine,
  session: Session | undefined,
  { artifacts, memoryDump, lease }: BootOptions & { readonly lease: Lease },
): Promise<unknown> {
  const found = error instanceof UsageError ? error : addEvidence(error, machine, session)
  const explained = found instanceof VMError ? tellWait(found, lease) : found
  if (!(explained instanceof VMError) || !artifacts) return explained
  const kept = await saveLogs(machine, artifacts, { session, memory: memoryDump }).catch(
    (failure: Error) => `(they could not be kept in ${artifacts}: ${failure.message})`,
  )
  return explained.withEvidence([{ label: 'Logs', text: kept }])
}

/** Time that a guest had to wait for room is not that of its start, but its test may have run out of it. */
function tellWait(error: VMError, { waited }: Lease): VMError {
  if (error.code !== 'BOOT_TIMEOUT' || waited === undefined) return error
  const text = `it had waited for ${formatDuration(waited.ms)}, which is not counted above. ${waited.text}`
  return error.withEvidence([{ label: 'Before its start', text }])
}

/** Leaves a guest that failed to start running, where that is wanted. */
async function keepIfWanted(vm: VM, error: unknown): Promise<unknown> {
  const isOfGuest = error instanceof VMError && (error.kind === 'guest' || error.kind === 'command')
  const kept = isOfGuest ? await vm.keepIfWanted(error.details.summary) : undefined
  return kept === undefined
    ? error
    : (error as VMError).withEvidence([{ label: 'Left running', text: kept.text }])
}
