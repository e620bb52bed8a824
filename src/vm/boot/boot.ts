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

/** Number of attempts to replace a port that another program took in the meantime. */
const PORT_ATTEMPTS = 5

export interface BootOptions {
  readonly tmpdir: string | undefined
  /** Folder for the logs of a guest that fails to start. */
  readonly artifacts: string | false | undefined
  /** If true, a dump of its RAM is saved with the logs. */
  readonly memoryDump?: boolean | undefined
  /** Maximum time for which a failed guest is kept, milliseconds. Undefined: it ends with this process. */
  readonly keepMs: number | undefined
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
  readonly startedFrom: StartedFrom
  /** Parts of the option `commandLine` that were dropped or replaced. */
  readonly translated?: readonly Translation[]
  /** Settings of a libvirt domain that were not imported. */
  readonly notCarriedOver?: readonly NotCarriedOver[]
  /** Called with the process id of each QEMU as soon as it runs. */
  readonly onProcess?: ((pid: number) => void) | undefined
  /** Snapshot to restore. Undefined: cold boot. */
  readonly snapshot?: MachineSnapshot | undefined
  /** File for the guest's RAM, so that the guest can become a template. */
  readonly memoryFile?: string | undefined
  /** Makes the guest a standby. Called when its memory is needed by another guest. */
  readonly onEvict?: (() => void) | undefined
}

/** A ready guest, with its machine, session and lease. */
export interface BootedGuest {
  readonly vm: VM
  readonly machine: Machine
  /** Latest power-on. */
  readonly session: Session
  /** Lease of the host budget. */
  readonly lease: Lease
  /** Resolves when the guest was disposed of. */
  readonly disposed: Promise<void>
}

/**
 * Waits for a lease, creates the run's folder, overlay, ports and keys, starts QEMU, connects, and waits until the guest is
 * ready. If any step fails, all resources are released.
 *
 * @throws {InfrastructureError} HOST_TOO_SMALL when the guest can never fit into the host budget.
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
  const lease = await acquireLease(spec as MachineSpec, host, options)
  cleanup.defer(() => lease.release())
  let machine: Machine | undefined
  let session: Session | undefined
  let vm: VM | undefined
  const disposed = createDeferred<void>()
  cleanup.defer(() => disposed.resolve())
  try {
    const recordProcess = (pid: number) => {
      lease.recordProcess(pid)
      onProcess?.(pid)
    }
    const settings = { ...options, lease, onProcess: recordProcess }
    const made = await prepareMachine(spec as MachineSpec, host, settings, cleanup)
    machine = made
    const powerOn = async (signal: AbortSignal | undefined, state?: MachineSnapshot) => {
      session = await startSession(made, { memoryFile, snapshot: state }, signal)
      const started = session
      cleanup.defer(() => (made.keeper?.hasGuest ? started.detach() : started.stop('orderly')))
      await followNetboot(made, started)
      if (state !== undefined) await restoreGuest(made, started, signal)
      return started
    }
    const first = await powerOn(options.signal, snapshot)
    cleanup.defer(() => lease.recordUsage())
    vm = new VM(made, { powerOn, dispose: () => cleanup.dispose() }, first)
    await vm.waitUntilReady(options.signal)
    lease.recordReady()
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
    const failure = toDiskError(error, 'creating the folder of the run')
    try {
      const explained =
        machine === undefined ? failure : await explain(failure, machine, session, { ...options, lease })
      throw vm === undefined ? explained : await tryKeep(vm, explained)
    } finally {
      await (vm?.dispose() ?? cleanup.dispose())
    }
  }
}

/** Takes a lease. A standby does not wait: it fails if the budget has no free memory. */
async function acquireLease(spec: MachineSpec, host: MachineHost, options: BootOptions): Promise<Lease> {
  const { signal, log, onEvict } = options
  signal?.throwIfAborted()
  const how = { isClone: options.snapshot !== undefined, becomesTemplate: options.memoryFile !== undefined }
  const order = { name: spec.name, kind: describeGuestKind(spec, host, how) }
  if (onEvict === undefined) return takeLease(order, { signal, log })
  const lease = await takeStandbyLease(order, onEvict, signal)
  if (lease === undefined) throw new Error('the host budget has no memory for a standby')
  return lease
}

interface MemoryOrigin {
  readonly memoryFile: string | undefined
  readonly snapshot: MachineSnapshot | undefined
}

/** Starts QEMU. If another program took a port since it was chosen, tries again with another port. */
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
      if (tries === PORT_ATTEMPTS || forwards.every(({ host }) => host !== undefined))
        throw portTaken(machine, error)
      await machine.ports.release()
      machine.setPorts(await reservePorts(forwards))
    }
  }
}

/** Starts QEMU once. The file with the device state is open only until QEMU has inherited it. */
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

/** Returns the file of the guest's RAM: its own file (a template), or the snapshot's, which is mapped privately. */
function chooseMemoryFile({ memoryFile, snapshot }: MemoryOrigin) {
  if (memoryFile !== undefined) return { path: memoryFile, isWritten: true }
  return snapshot === undefined ? undefined : { path: snapshot.memory, isWritten: false }
}

function portTaken(machine: Machine, cause: unknown) {
  const given = machine.spec.forwards.filter(({ host }) => host !== undefined)
  return vmError('PORT_UNAVAILABLE', {
    summary: `QEMU could not listen on a host port: ${given.map(({ protocol, bind, host }) => `${protocol} ${bind}:${host}`).join(', ')}.`,
    evidence: [{ label: "QEMU's standard error", text: machine.process?.stderr ?? '' }],
    hint: 'Stop the program that listens there (find it with `ss -tulpn`), or omit `host` to get a free port, returned by `vm.hostPort()`.',
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
  const explained = found instanceof VMError ? addLeaseWait(found, lease) : found
  if (!(explained instanceof VMError) || !artifacts) return explained
  const kept = await saveLogs(machine, artifacts, { session, memory: memoryDump }).catch(
    (failure: Error) => `(they could not be saved to ${artifacts}: ${failure.message})`,
  )
  return explained.withEvidence([{ label: 'Logs', text: kept }])
}

/** Adds the time that the guest waited for its lease: it does not count as start time, but it uses up the test's timeout. */
function addLeaseWait(error: VMError, { waited }: Lease): VMError {
  if (error.code !== 'BOOT_TIMEOUT' || waited === undefined) return error
  const text = `it had waited for ${formatDuration(waited.ms)}, which is not counted above. ${waited.text}`
  return error.withEvidence([{ label: 'Before its start', text }])
}

/** Keeps a guest that failed to start, if `keepOnFailure` is set. */
async function tryKeep(vm: VM, error: unknown): Promise<unknown> {
  const isOfGuest = error instanceof VMError && (error.kind === 'guest' || error.kind === 'command')
  const kept = isOfGuest ? await vm.tryKeep(error.details.summary) : undefined
  return kept === undefined
    ? error
    : (error as VMError).withEvidence([{ label: 'Left running', text: kept.text }])
}
