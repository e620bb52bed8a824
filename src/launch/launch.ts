import { resolveImage } from '../../images/resolve.js'
import { VMError } from '../errors.js'
import { chooseAccelerator, forgetKvm } from '../host/accelerator.js'
import type { QemuBinary } from '../host/qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../host/qemu-capabilities.js'
import { DEFAULTS } from '../spec/defaults.js'
import { readSystemDisk } from '../spec/list-disks.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { AccelOption } from '../spec/options/machine.js'
import type { VMOptions } from '../spec/options.js'
import { PreparedImage } from '../spec/prepared-image.js'
import { resolveSpec } from '../spec/resolve-spec.js'
import { bootMachine } from '../vm/boot.js'
import { resolveKeepMs } from '../vm/keep.js'
import type { MachineHost } from '../vm/machine.js'
import type { VM } from '../vm/vm.js'
import { sweepDeadWorkspaces } from '../vm/workspace.js'
import { findColdReason } from '../warm/eligibility.js'
import { type GuestOrder, startWarm } from '../warm/start-warm.js'
import { checkOptions } from './check-options.js'
import { mergeCommandLine } from './merge-command-line.js'
import { findParts, openDisks } from './parts.js'

/**
 * Starts a guest: validate, find QEMU and the accelerator, make the image ready, then go on from a guest that was
 * booted before, or boot. Whatever fails on the way, nothing is left behind.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once, IMAGE_NOT_FOUND, IMAGE_INVALID, MACHINE_UNSUPPORTED.
 * @throws {InfrastructureError} QEMU_NOT_FOUND, QEMU_TOO_OLD, ACCELERATOR_UNAVAILABLE, NO_SPACE, PORT_UNAVAILABLE, …
 * @throws {GuestError} BOOT_TIMEOUT, GUEST_PANICKED, … with the stage and the console's last lines.
 * @example await using vm = await launchVM({ image: 'tiny' })
 */
export async function launchVM(given: VMOptions<VM> = {}): Promise<VM> {
  const { options, translated } = await mergeCommandLine(given)
  const qemu = await checkOptions(options)
  const keepMs = resolveKeepMs(options) // a WITHVM_KEEP that is wrong is told before anything is made
  options.signal?.throwIfAborted()
  const log = options.log ?? ((line: string) => void process.stderr.write(`withvm: ${line}\n`))
  for (const { from, to, reason } of translated) log(`${from} became ${to}: ${reason}.`)
  const swept = sweepOnce(options.tmpdir)
  const { spec, host } = await planMachine(options, qemu, log)
  const settings = {
    tmpdir: options.tmpdir,
    artifacts: options.artifacts ?? process.env.WITHVM_ARTIFACTS,
    memoryDump: options.memoryDump,
    keepMs,
    signal: options.signal,
    log,
    translated,
  }
  const steps = options.image instanceof PreparedImage ? options.image.steps : []
  // One that is to outlive this process is not made before it is wanted.
  const standby = keepMs === undefined ? options.standby : false
  const order = { spec, host, steps, settings, standby }
  try {
    return await startGuest(order, options)
  } catch (error) {
    if (!isLostKvm(error, spec, host)) throw error
    await forgetKvm((error as VMError).details.summary, { qemu: host.qemu })
    log(
      `KVM failed while the guest ran (${(error as VMError).details.summary}); it is started again under TCG.`,
    )
    const other = { ...host, ...(await chooseHost('tcg', host.qemu, host, log)) }
    return await startGuest({ ...order, host: other }, options)
  } finally {
    await swept
  }
}

/** Warm where nothing speaks against it. */
async function startGuest(order: GuestOrder, options: VMOptions<VM>): Promise<VM> {
  const { spec, settings } = order
  const coldReason = findColdReason(spec, options)
  if (coldReason === undefined) {
    const start = await startWarm(order)
    return 'guest' in start ? start.guest.vm : startCold(order, start.coldReason)
  }
  if (options.start === 'warm') settings.log(`'${spec.name}' is booted cold: ${coldReason}.`)
  return startCold(order, coldReason)
}

/** What others would go on from is done in this guest itself. */
async function startCold({ spec, host, steps, settings }: GuestOrder, reason: string): Promise<VM> {
  const { vm } = await bootMachine(spec, host, { ...settings, startedFrom: { kind: 'cold', reason } })
  try {
    for (const { run } of steps) await run(vm)
    return vm
  } catch (error) {
    await vm.dispose()
    throw error
  }
}

const swept = new Map<string | undefined, Promise<void>>()

/** Looks once in a process for what dead runs have left. */
function sweepOnce(tmpdir: string | undefined): Promise<void> {
  const sweeping = swept.get(tmpdir) ?? sweepDeadWorkspaces(tmpdir)
  swept.set(tmpdir, sweeping)
  return sweeping
}

async function planMachine(
  options: VMOptions<VM>,
  qemu: QemuBinary,
  log: (line: string) => void,
): Promise<{ spec: MachineSpec<VM>; host: MachineHost }> {
  const capabilities = await queryCapabilities(qemu, { signal: options.signal })
  const { signal } = options
  const name = readSystemDisk(options).image ?? (options.kernel === undefined ? DEFAULTS.image : false)
  const source = name instanceof PreparedImage ? name.source : name
  const image = source === false ? undefined : await resolveImage(source, { signal })
  const spec = resolveSpec(options, image, await openDisks(options))
  for (const { content, isWrittenThrough } of spec.disks) {
    if (isWrittenThrough && content.kind === 'image')
      log(`'${spec.name}' writes to ${content.file.path} itself: snapshot is false.`)
  }
  const host = await chooseHost(spec.accel, qemu, capabilities, log)
  return { spec, host: { ...host, ...(await findParts(spec, qemu)) } }
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

function isLostKvm(error: unknown, spec: MachineSpec<VM>, host: MachineHost): boolean {
  return (
    spec.accel === 'auto' &&
    host.accelerator === 'kvm' &&
    error instanceof VMError &&
    error.code === 'ACCELERATOR_FAILED'
  )
}
