import { type FileHandle, open, readFile } from 'node:fs/promises'
import type { Lease } from '../../budget/lease.js'
import { takeLease, takeStandbyLease } from '../../budget/take-lease.js'
import { CleanupStack } from '../../common/cleanup-stack.js'
import { createDeferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { toDiskError } from '../../common/process/run-tool.js'
import { UsageError, VMError } from '../../errors.js'
import { buildQemuCommand } from '../../qemu/argv/build-command.js'
import type { QemuCommand } from '../../qemu/command.js'
import { isPortTaken } from '../../qemu/start-failure.js'
import { addEvidence } from '../evidence/diagnostics.js'
import { saveLogs } from '../evidence/saved-logs.js'
import { VM } from '../guest/vm.js'
import { describeGuestKind } from '../machine/guest-kind.js'
import type { GuestPlan, MachineSnapshot, RunSettings, StartOrigin } from '../machine/guest-plan.js'
import { findTscKhz } from '../machine/host-processor.js'
import type { Machine } from '../machine/machine.js'
import { prepareMachine } from '../machine/prepare.js'
import { changeTpmSeed } from '../machine/tpm-seed.js'
import type { ForkRequest } from '../power/power.js'
import { restoreGuest } from '../power/restore-state.js'
import { followNetboot } from '../session/follow-netboot.js'
import { watchLimits } from '../session/guest-limits.js'
import { watchKvm } from '../session/kvm-watch.js'
import { Session } from '../session/session.js'

/** Number of attempts to replace a port that another program took in the meantime. */
const PORT_ATTEMPTS = 5
/** Device state of a clone, if it differs from that of its template. */
const OWN_STATE = 'state'

/** Callbacks of a guest that is started for later use, as a standby. */
export interface StandbyHooks {
  /** Called with the process id of QEMU as soon as it runs. */
  readonly onProcess: (pid: number) => void
  /** Called when the memory of the standby is needed for another guest. */
  readonly onEvict: () => void
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
 * Waits for a lease, creates the run's folder, overlay, ports and keys, starts QEMU, connects, and
 * waits until the guest is ready. If any step fails, all resources are released.
 *
 * @throws {InfrastructureError} HOST_TOO_SMALL when the guest can never fit into the host budget.
 * @throws {InfrastructureError} NO_SPACE, PORT_UNAVAILABLE, QEMU_FAILED, …
 * @throws {GuestError} BOOT_TIMEOUT, GUEST_PANICKED, … with the stage and the console's last lines.
 */
export async function bootMachine(
  plan: GuestPlan,
  origin: StartOrigin,
  hooks?: StandbyHooks,
): Promise<BootedGuest> {
  const { signal } = plan.run
  const cleanup = new CleanupStack()
  // Before QEMU opens the files: a snapshot that another guest finds unusable stays until the end.
  const endUse = origin.noteUse?.()
  if (endUse !== undefined) cleanup.defer(endUse)
  const lease = await acquireLease(plan, origin, hooks?.onEvict).catch(async (error: unknown) => {
    await cleanup.dispose()
    throw error
  })
  cleanup.defer(() => lease.release())
  let machine: Machine | undefined
  let session: Session | undefined
  let vm: VM | undefined
  const disposed = createDeferred<void>()
  cleanup.defer(() => disposed.resolve())
  try {
    const made = await prepareMachine(plan, origin, { lease, onProcess: hooks?.onProcess }, cleanup)
    machine = made
    const powerOn = async (signal: AbortSignal | undefined, snapshot?: MachineSnapshot) => {
      made.isIdentitySet = false
      session = await startSession(made, { memoryFiles: origin.memoryFiles, snapshot }, signal)
      const started = session
      cleanup.defer(() => (made.keeper?.hasGuest ? started.detach() : started.stop('orderly')))
      await followNetboot(made, started)
      if (snapshot !== undefined) await restoreGuest(made, started, snapshot, signal)
      return started
    }
    const first = await powerOn(signal, made.origin.snapshot)
    cleanup.defer(() => lease.recordUsage())
    const fork = async (options: ForkRequest) => {
      const { forkGuests } = await import('../fork/fork.js')
      return forkGuests([vm as VM], options, bootMachine)
    }
    vm = new VM(made, { powerOn, dispose: () => cleanup.dispose(), fork }, first)
    await vm.waitUntilReady(signal)
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
        machine === undefined ? failure : await explainFailedStart(failure, plan.run, machine, session)
      throw vm === undefined ? explained : await tryKeep(vm, explained)
    } finally {
      await (vm?.dispose() ?? cleanup.dispose())
    }
  }
}

/** Takes a lease. A standby does not wait: it fails if the budget has no free memory. */
async function acquireLease(
  { name, spec, host, run: { signal, log } }: GuestPlan,
  { snapshot, memoryFiles }: StartOrigin,
  onEvict: (() => void) | undefined,
): Promise<Lease> {
  signal?.throwIfAborted()
  const isClone = snapshot !== undefined && snapshot.memory.length > 0
  const usage = { isClone, becomesTemplate: memoryFiles !== undefined }
  const request = { name, image: spec.image?.name, kind: describeGuestKind(spec, host, usage) }
  if (onEvict === undefined) return takeLease(request, { signal, log })
  const lease = await takeStandbyLease(request, onEvict, signal)
  if (lease === undefined) throw new Error('the host budget has no memory for a standby')
  return lease
}

/** Origin of the RAM of one power-on. */
type MemoryOrigin = Pick<StartOrigin, 'memoryFiles' | 'snapshot'>

/**
 * Starts QEMU. If another program took a port since it was chosen, tries again with another port.
 */
async function startSession(
  machine: Machine,
  origin: MemoryOrigin,
  signal: AbortSignal | undefined,
): Promise<Session> {
  for (let tries = 1; ; tries++) {
    try {
      return await startOnce(machine, origin, signal)
    } catch (error) {
      const stderr = machine.process?.stderr ?? ''
      if (signal?.aborted || !isPortTaken(stderr)) throw error
      if (tries === PORT_ATTEMPTS || !machine.ports.isReplaceable) throw machine.ports.inUse(stderr, error)
      await machine.ports.replace()
    }
  }
}

/** Starts QEMU once. The file with the device state is open only until QEMU has inherited it. */
async function startOnce(
  machine: Machine,
  origin: MemoryOrigin,
  signal: AbortSignal | undefined,
): Promise<Session> {
  const state = origin.snapshot === undefined ? undefined : await openState(machine, origin.snapshot)
  try {
    await machine.services.tpm?.start()
    const tscKhz = origin.snapshot === undefined ? await findTscKhz(machine) : undefined
    const command = buildCommand(machine, origin, tscKhz)
    machine.clock.start()
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

/** Opens the device state of a snapshot. A TPM 2.0 gets its own random numbers. */
async function openState(
  { spec, workspace }: Machine,
  { state: path }: MachineSnapshot,
): Promise<FileHandle> {
  if (spec.tpm?.version !== '2.0') return open(path, 'r')
  const state = await readFile(path)
  changeTpmSeed(state)
  await workspace.write(OWN_STATE, state)
  return open(workspace.path(OWN_STATE), 'r')
}

function buildCommand(
  machine: Machine,
  { memoryFiles, snapshot }: MemoryOrigin,
  tscKhz: number | undefined,
): QemuCommand {
  const { host, workspace, files, sockets, identity, services } = machine
  return buildQemuCommand(machine.spec, {
    qemuPath: host.qemu.path,
    accelerator: host.accelerator,
    sandbox: host.hasSandbox,
    overlay: files.overlay,
    vncSecretFile: files.vncSecret,
    spiceSecretFile: files.spiceSecret,
    spiceSocket: workspace.socket('spice.sock'),
    gdbSocket: workspace.socket('gdb.sock'),
    disks: files.disks,
    firmware: files.firmware,
    tpmSocket: services.tpm?.socket,
    seedDisk: files.seedDisk,
    qmpSocket: sockets.qmp.path,
    serialSocket: sockets.serial.path,
    serialLog: workspace.path('serial.log'),
    agentSocket: sockets.agent.path,
    identityAgentSocket: sockets.identityAgent.path,
    portSockets: sockets.ports.map(({ path }) => path),
    mac: identity.mac,
    furtherMacs: identity.furtherMacs,
    smbiosFiles: files.credentials.smbios,
    initrd: files.credentials.initrd,
    tscKhz,
    watchdogTable: files.watchdogTable,
    hostPorts: machine.ports.numbers,
    forwardCommands: services.forwards.commands,
    netboot: services.netboot?.beginPowerOn(),
    memoryFiles: chooseMemoryFiles({ memoryFiles, snapshot }),
    isIncoming: snapshot !== undefined,
    hasGenerationId: needsGenerationId(machine, { memoryFiles, snapshot }),
  })
}

/**
 * Returns true for templates and clones of images that withvm did not build: their kernel may seed
 * its random pool when the generation ID changes, also if the identity agent is late.
 */
function needsGenerationId({ spec }: Machine, { memoryFiles, snapshot }: MemoryOrigin): boolean {
  const isCloned = memoryFiles !== undefined || snapshot !== undefined
  return isCloned && spec.identity === 'own' && spec.image?.traits.identity === undefined
}

/**
 * Returns the files of the guest's RAM: its own files (a template), or those of the snapshot, which
 * are mapped privately.
 */
function chooseMemoryFiles({ memoryFiles, snapshot }: MemoryOrigin) {
  if (memoryFiles !== undefined) return { paths: memoryFiles, isWritten: true }
  if (snapshot === undefined || snapshot.memory.length === 0) return undefined
  return { paths: snapshot.memory, isWritten: false }
}

async function explainFailedStart(
  error: unknown,
  { artifacts, memoryDump }: RunSettings,
  machine: Machine,
  session: Session | undefined,
): Promise<unknown> {
  const found = error instanceof UsageError ? error : addEvidence(error, machine, session)
  const explained = found instanceof VMError ? addLeaseWait(found, machine.lease) : found
  if (!(explained instanceof VMError) || !artifacts) return explained
  const kept = await saveLogs(machine, artifacts, { session, memory: memoryDump }).catch(
    (failure: Error) => `(they could not be saved to ${artifacts}: ${failure.message})`,
  )
  return explained.withEvidence([{ label: 'Logs', text: kept }])
}

/**
 * Adds the time that the guest waited for its lease: it does not count as start time, but it uses
 * up the test's timeout.
 */
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
