import { resolveImage } from '../../images/resolve.js'
import { CleanupStack } from '../common/cleanup-stack.js'
import { UsageError, VMError, vmError } from '../errors.js'
import { chooseAccelerator, forgetKvm } from '../host/accelerator.js'
import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../host/qemu-capabilities.js'
import { toDiskError } from '../image/run-tool.js'
import { buildQemuCommand } from '../qemu/argv.js'
import { isPortTaken } from '../qemu/start-failure.js'
import { DEFAULTS } from '../spec/defaults.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { AccelOption, VMOptions } from '../spec/options.js'
import { resolveSpec } from '../spec/resolve-spec.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import { addEvidence } from './diagnostics.js'
import { findFileProblems, findQemuProblems } from './host-problems.js'
import { resolveKeepMs } from './keep.js'
import type { Machine, MachineHost } from './machine.js'
import { reservePorts } from './port-reservation.js'
import { prepareMachine } from './prepare.js'
import { saveLogs } from './saved-logs.js'
import { Session } from './session.js'
import { VM } from './vm.js'
import { sweepDeadWorkspaces } from './workspace.js'

/** How often a port that another program took in between is replaced by another. */
const PORT_TRIES = 5

/**
 * Boots a guest: validate, find QEMU and the accelerator, make the image ready, acquire a folder, an overlay,
 * ports and keys, start QEMU, connect, wait until ready. Whatever fails on the way, nothing is left behind.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once, IMAGE_NOT_FOUND, IMAGE_INVALID, MACHINE_UNSUPPORTED.
 * @throws {InfrastructureError} QEMU_NOT_FOUND, QEMU_TOO_OLD, ACCELERATOR_UNAVAILABLE, NO_SPACE, PORT_UNAVAILABLE, …
 * @throws {GuestError} BOOT_TIMEOUT, GUEST_PANICKED, … with the stage and the console's last lines.
 * @example await using vm = await launchVM({ image: 'tiny' })
 */
export async function launchVM(options: VMOptions<VM> = {}): Promise<VM> {
  const qemu = await checkOptions(options)
  resolveKeepMs(options) // a WITHVM_KEEP that is wrong is told before anything is made
  options.signal?.throwIfAborted()
  const log = options.log ?? ((line: string) => void process.stderr.write(`withvm: ${line}\n`))
  const swept = sweepOnce(options.tmpdir)
  const { spec, host } = await planMachine(options, qemu, log)
  try {
    return await bootMachine(spec, host, options, log)
  } catch (error) {
    if (!isLostKvm(error, spec, host)) throw error
    await forgetKvm((error as VMError).details.summary, { qemu: host.qemu })
    log(
      `KVM failed while the guest ran (${(error as VMError).details.summary}); it is started again under TCG.`,
    )
    return await bootMachine(spec, await chooseHost('tcg', host.qemu, host, log), options, log)
  } finally {
    await swept
  }
}

const swept = new Map<string | undefined, Promise<void>>()

/** Looks once in a process for what dead runs have left. */
function sweepOnce(tmpdir: string | undefined): Promise<void> {
  const sweeping = swept.get(tmpdir) ?? sweepDeadWorkspaces(tmpdir)
  swept.set(tmpdir, sweeping)
  return sweeping
}

/** Finds all that is wrong with the options before anything is acquired. Gives the QEMU that they are for. */
async function checkOptions(options: VMOptions<VM>): Promise<QemuBinary> {
  const problems = findOptionProblems(options)
  const isObject = typeof options === 'object' && options !== null
  const finding = findQemu({ qemu: typeof options?.qemu === 'string' ? options.qemu : undefined })
  finding.catch(() => {}) // what is wrong with the options comes first
  const ofHost = isObject
    ? [findFileProblems(options), finding.then((qemu) => findQemuProblems(options, qemu))]
    : []
  const found = await Promise.allSettled(ofHost)
  const known = new Set(problems.map(({ path }) => path))
  const more = found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  const all = [...problems, ...more.filter(({ path }) => !known.has(path))]
  if (all.length > 0) throw optionError(all)
  for (const result of found) if (result.status === 'rejected') throw result.reason
  return finding
}

async function planMachine(
  options: VMOptions<VM>,
  qemu: QemuBinary,
  log: (line: string) => void,
): Promise<{ spec: MachineSpec<VM>; host: MachineHost }> {
  const capabilities = await queryCapabilities(qemu, { signal: options.signal })
  const name = options.image ?? (options.kernel === undefined ? DEFAULTS.image : undefined)
  const image = name === undefined ? undefined : await resolveImage(name, { signal: options.signal })
  const spec = resolveSpec(options, image)
  return { spec, host: await chooseHost(spec.accel, qemu, capabilities, log) }
}

async function chooseHost(
  accel: AccelOption,
  qemu: QemuBinary,
  { hasSandbox }: Pick<QemuCapabilities, 'hasSandbox'>,
  log: (line: string) => void,
): Promise<MachineHost> {
  const { name, timeFactor } = await chooseAccelerator({ accel, qemu, notify: log })
  return { qemu, hasSandbox, accelerator: name, timeFactor }
}

async function bootMachine(
  spec: MachineSpec<VM>,
  host: MachineHost,
  options: VMOptions<VM>,
  log: (line: string) => void,
): Promise<VM> {
  const cleanup = new CleanupStack()
  let machine: Machine | undefined
  let session: Session | undefined
  let vm: VM | undefined
  try {
    const settings = { tmpdir: options.tmpdir, log, keepMs: resolveKeepMs(options) }
    const made = await prepareMachine(spec as MachineSpec, host, settings, cleanup)
    machine = made
    const powerOn = async (signal: AbortSignal | undefined) => {
      session = await startSession(made, signal)
      const started = session
      cleanup.defer(() => (made.keeper?.hasGuest ? started.leave() : started.stop('orderly')))
      return started
    }
    vm = new VM(made, { powerOn, dispose: () => cleanup.dispose() }, await powerOn(options.signal))
    await vm.waitUntilReady(options.signal)
    return vm
  } catch (error) {
    const failure = toDiskError(error, 'making the folder of the run')
    try {
      const explained = machine === undefined ? failure : await explain(failure, machine, session, options)
      throw vm === undefined ? explained : await keepIfWanted(vm, explained)
    } finally {
      await (vm?.dispose() ?? cleanup.dispose())
    }
  }
}

/** Starts QEMU; another program may have taken a port since it was chosen, then another is. */
async function startSession(machine: Machine, signal: AbortSignal | undefined): Promise<Session> {
  for (let tries = 1; ; tries++) {
    try {
      return await Session.start(machine, buildCommand(machine), signal)
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

function buildCommand(machine: Machine) {
  const { host, workspace, listeners } = machine
  return buildQemuCommand(machine.spec, {
    qemuPath: host.qemu.path,
    accelerator: host.accelerator,
    sandbox: host.hasSandbox,
    overlay: machine.overlay,
    qmpSocket: listeners.qmp.path,
    serialSocket: listeners.serial.path,
    serialLog: workspace.path('serial.log'),
    agentSocket: listeners.agent.path,
    smbiosFiles: machine.smbiosFiles,
    hostPorts: machine.ports.hostPorts,
  })
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
  options: VMOptions<VM>,
): Promise<unknown> {
  const explained = error instanceof UsageError ? error : addEvidence(error, machine, session)
  const artifacts = options.artifacts ?? process.env.WITHVM_ARTIFACTS
  if (!(explained instanceof VMError) || !artifacts) return explained
  const kept = await saveLogs(machine, artifacts, { session, memory: options.memoryDump }).catch(
    (failure: Error) => `(they could not be kept in ${artifacts}: ${failure.message})`,
  )
  return explained.withEvidence([{ label: 'Logs', text: kept }])
}

/** Leaves a guest that failed to start running, where that is wanted. */
async function keepIfWanted(vm: VM, error: unknown): Promise<unknown> {
  const isOfGuest = error instanceof VMError && (error.kind === 'guest' || error.kind === 'command')
  const kept = isOfGuest ? await vm.keepIfWanted(error.details.summary) : undefined
  return kept === undefined
    ? error
    : (error as VMError).withEvidence([{ label: 'Left running', text: kept.text }])
}

function isLostKvm(error: unknown, spec: MachineSpec<VM>, host: MachineHost): boolean {
  return (
    spec.accel === 'auto' &&
    host.accelerator === 'kvm' &&
    error instanceof VMError &&
    error.code === 'ACCELERATOR_FAILED'
  )
}
