import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { withReservation } from '../budget/holder.js'
import { reserveCapacity } from '../budget/take-lease.js'
import { findTemporaryCache } from '../common/cache-dir.js'
import { combineSignals } from '../common/combine-signals.js'
import { requireProc, toHostError } from '../common/host-error.js'
import type { HostUser } from '../common/process/host-user.js'
import { logToStderr } from '../common/stderr-log.js'
import { VMError } from '../errors.js'
import { openHostCache } from '../host/host-cache.js'
import { chooseAccelerator, forgetKvm } from '../host/kvm/accelerator.js'
import { type QemuCapabilities, queryCapabilities } from '../host/qemu-capabilities.js'
import { resolveImage } from '../image/resolve-image.js'
import type { BaseImage } from '../spec/base-image.js'
import { DEFAULTS } from '../spec/defaults.js'
import type { ImageDefinition } from '../spec/image-definition.js'
import { PreparedImage } from '../spec/image-definition.js'
import type { ImageSource } from '../spec/image-source.js'
import { readSystemDisk } from '../spec/list-disks.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { MICROVM } from '../spec/microvm.js'
import type { AccelOption } from '../spec/options/machine.js'
import type { VMOptions } from '../spec/options.js'
import { isKeyFile, resolveSpec } from '../spec/resolve/resolve-spec.js'
import { optionError } from '../spec/validate-options.js'
import { bootMachine } from '../vm/boot/boot.js'
import { createLayerBuilder } from '../vm/boot/layer.js'
import type { VM } from '../vm/guest/vm.js'
import { requireBootable } from '../vm/machine/bootable.js'
import { listFileAccesses, requireFileAccess } from '../vm/machine/file-access.js'
import { describeGuestKind } from '../vm/machine/guest-kind.js'
import type { MachineHost } from '../vm/machine/machine.js'
import { resolveKeepMs } from '../vm/power/keep.js'
import { sweepDeadWorkspaces } from '../vm/workspace/sweep.js'
import { findColdReason } from '../warm/eligibility.js'
import { type GuestOrder, startWarm } from '../warm/start-warm.js'
import { checkOptions, type Runner } from './check-options.js'
import { mergeDomain } from './import-domain.js'
import { mergeCommandLine } from './merge-command-line.js'
import { findParts, openDisks } from './parts.js'

/**
 * Starts a guest: validates the options, finds QEMU and the accelerator, prepares the image, then restores the guest from a
 * template or boots it. If any step fails, all resources are released.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once, IMAGE_NOT_FOUND, IMAGE_INVALID, MACHINE_UNSUPPORTED.
 * @throws {InfrastructureError} QEMU_NOT_FOUND, QEMU_TOO_OLD, ACCELERATOR_UNAVAILABLE, NO_SPACE, PORT_UNAVAILABLE, …
 * @throws {GuestError} BOOT_TIMEOUT, GUEST_PANICKED, … with the stage and the console's last lines.
 * @example await using vm = await launchVM({ image: 'tiny' })
 */
export async function launchVM(given: VMOptions<VM> = {}): Promise<VM> {
  return onHost(async () => {
    const { order, options, swept } = await planLaunch(given)
    try {
      return await startPlanned(order, options)
    } finally {
      await swept
    }
  })
}

/** Runs a launch, and converts errors about host limits, such as too many open files, to `InfrastructureError`. */
async function onHost<T>(launch: () => Promise<T>): Promise<T> {
  requireProc()
  try {
    return await launch()
  } catch (error) {
    throw toHostError(error)
  }
}

/**
 * Starts several guests concurrently. Capacity for all of them is reserved before the first one starts. If one guest fails, the
 * others are disposed of.
 *
 * @throws the errors of {@link launchVM}; the first one if several guests fail.
 */
export async function launchVMs(given: readonly VMOptions<VM>[]): Promise<VM[]> {
  return given.length === 0 ? [] : onHost(() => launchTogether(given))
}

async function launchTogether(given: readonly VMOptions<VM>[]): Promise<VM[]> {
  const failure = new AbortController()
  const plans = await Promise.all(given.map((options) => planLaunch(options)))
  const list = plans.map(({ options }) => options)
  const signals = list.map(({ signal }) => combineSignals(failure.signal, signal))
  const orders = plans.map(({ order }, index) => ({
    ...order,
    settings: { ...order.settings, signal: signals[index] as AbortSignal },
  }))
  const { log } = (orders[0] as GuestOrder).settings
  const requests = orders.map(({ spec, host }, index) => {
    const isWarm = findColdReason(spec, list[index] as VMOptions<VM>) === undefined
    return { name: spec.name, kind: describeGuestKind(spec as MachineSpec, host, { isClone: isWarm }) }
  })
  const reserved = await reserveCapacity(requests, {
    signal: combineSignals(failure.signal, ...signals),
    log,
  })
  try {
    const starts = orders.map((order, index) =>
      withReservation(reserved, () => startPlanned(order, list[index] as VMOptions<VM>)),
    )
    for (const start of starts) start.catch((error: unknown) => failure.abort(error))
    const results = await Promise.allSettled(starts)
    const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    if (started.length === list.length) return started
    await Promise.allSettled(started.map((vm) => vm.dispose()))
    throw failure.signal.reason
  } finally {
    await reserved.release()
    await Promise.all(plans.map(({ swept }) => swept))
  }
}

interface LaunchPlan {
  readonly order: GuestOrder
  /** Options with `commandLine` and `libvirtXML` merged in. */
  readonly options: VMOptions<VM>
  /** Settles when the files of dead runs are removed. */
  readonly swept: Promise<unknown>
}

async function planLaunch(given: VMOptions<VM>): Promise<LaunchPlan> {
  const { options: read, translated } = await mergeCommandLine(given)
  const { options, notCarriedOver } = await mergeDomain(read)
  const runner = await checkOptions(options)
  const keepMs = resolveKeepMs(options) // reports an invalid WITHVM_KEEP before resources are acquired
  options.signal?.throwIfAborted()
  const log = options.log ?? logToStderr
  await reportTemporaryCache(log)
  for (const { from, to, reason } of translated) log(`${from} was translated to ${to}: ${reason}.`)
  const swept = sweepOnce(options.tmpdir, runner.user)
  const { spec, host } = await planMachine(options, runner, log)
  if (notCarriedOver.length > 0) {
    const settings = notCarriedOver.length === 1 ? '1 setting was' : `${notCarriedOver.length} settings were`
    log(
      `${settings} not imported from the libvirt domain of '${spec.name}': see vm.notCarriedOver, or run \`withvm import\`.`,
    )
  }
  const settings = {
    tmpdir: options.tmpdir,
    artifacts: options.artifacts ?? process.env.WITHVM_ARTIFACTS,
    memoryDump: options.memoryDump,
    keepMs,
    signal: options.signal,
    log,
    translated,
    notCarriedOver,
  }
  const steps = options.image instanceof PreparedImage ? options.image.steps : []
  // A guest that may be kept outlives this process, so none is prepared in advance.
  const standby = keepMs === undefined ? options.standby : false
  return { order: { spec, host, steps, settings, standby }, options, swept }
}

async function startPlanned(order: GuestOrder, options: VMOptions<VM>): Promise<VM> {
  const { spec, host, settings } = order
  try {
    return await startGuest(order, options)
  } catch (error) {
    if (!isKvmFailure(error, spec, host)) throw error
    await forgetKvm((error as VMError).details.summary, { qemu: host.qemu })
    settings.log(
      `KVM failed while the guest was running (${(error as VMError).details.summary}); the guest is started again with TCG.`,
    )
    const other = { ...host, ...(await chooseHost('tcg', host, host, settings.log)) }
    return await startGuest({ ...order, host: other }, options)
  }
}

/** Starts the guest warm if it is eligible, otherwise cold. */
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

/** Boots the guest and runs the preparation steps, which a warm start would have in its template, in the guest itself. */
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

/** Returns the builder of image layers, which boots guests as the same host user. */
const makeLayerAs = (user: HostUser | undefined) =>
  createLayerBuilder(async (image, options) => {
    const log = options.log ?? (() => {})
    const { qemu } = await checkOptions(options)
    const { spec, host } = await describeMachine({ ...options, start: 'cold' }, image, { qemu, user }, log)
    const settings = {
      tmpdir: undefined,
      artifacts: undefined,
      keepMs: undefined,
      signal: options.signal,
      log,
    }
    return startCold({ spec, host, steps: [], settings, standby: false }, 'the guest builds an image')
  })

/** Logs, once per reason, that the cache is in the temporary directory, where it may be deleted and rebuilt. */
async function reportTemporaryCache(log: (line: string) => void): Promise<void> {
  const cache = findTemporaryCache()
  if (cache === undefined) return
  const { dir, reason } = cache
  if (await openHostCache(dir).shouldReport('temporary-cache-announced', reason))
    log(`images are cached in ${dir}: ${reason}. Fix: Set WITHVM_CACHE to a persistent directory.`)
}

const swept = new Map<string, Promise<unknown>>()
/** Maximum time that a start waits for the sweep, milliseconds. The sweep then continues in the background. */
const SWEEP_MS = 2000

/** Removes the files of dead runs, once in a process for each folder and user. */
function sweepOnce(tmpdir: string | undefined, user: HostUser | undefined): Promise<unknown> {
  const key = `${tmpdir} ${user?.uid}`
  const known = swept.get(key)
  if (known !== undefined) return known
  const sweeping = Promise.race([
    sweepDeadWorkspaces(tmpdir, user),
    sleep(SWEEP_MS, undefined, { ref: false }),
  ])
  swept.set(key, sweeping)
  return sweeping
}

async function planMachine(
  options: VMOptions<VM>,
  runner: Runner,
  log: (line: string) => void,
): Promise<{ spec: MachineSpec<VM>; host: MachineHost }> {
  const { qemu, user } = runner
  const bootsDefaultImage = options.kernel === undefined && options.netboot === undefined
  const name = readSystemDisk(options).image ?? (bootsDefaultImage ? DEFAULTS.image : false)
  // The guest that a definition receives comes from `makeLayerAs` above.
  const source = (name instanceof PreparedImage ? name.source : name) as
    | ImageSource
    | ImageDefinition<unknown>
    | false
  const image =
    source === false
      ? undefined
      : await resolveImage(source, { arch: qemu.arch, signal: options.signal, makeLayer: makeLayerAs(user) })
  return describeMachine(options, image, runner, log)
}

async function describeMachine(
  options: VMOptions<VM>,
  image: BaseImage | undefined,
  runner: Runner,
  log: (line: string) => void,
): Promise<{ spec: MachineSpec<VM>; host: MachineHost }> {
  const { qemu } = runner
  const capabilities = await queryCapabilities(qemu, { signal: options.signal })
  if (options.cloudInit && image?.traits.mayHaveCloudInit === false) throw cloudInitUnsupported(image.name)
  const spec = resolveSpec(await readKeyFile(options), image, await openDisks(options))
  if (spec.machine === MICROVM && !canLogInWithoutSmbios(spec)) throw loginImpossible(spec.name)
  await requireBootable(spec as MachineSpec<never>, options.signal)
  for (const { content, isWrittenDirectly } of spec.disks) {
    if (isWrittenDirectly && content.kind === 'image')
      log(`'${spec.name}' writes directly to ${content.file.path}: snapshot is false.`)
  }
  const chosen = await chooseHost(spec.accel, runner, capabilities, log)
  const host = { ...chosen, ...(await findParts(spec, qemu)) }
  if (host.user !== undefined)
    await requireFileAccess(host.user, await listFileAccesses(spec as MachineSpec, host, options.tmpdir))
  return { spec, host }
}

/** Replaces a private key file with its content. The validation has checked that the file is readable. */
async function readKeyFile(options: VMOptions<VM>): Promise<VMOptions<VM>> {
  const { ssh } = options
  if (!ssh || !isKeyFile(ssh.privateKey)) return options
  return { ...options, ssh: { ...ssh, privateKey: await readFile(ssh.privateKey.file) } }
}

/** Returns true if the SSH login does not depend on a key that is passed through SMBIOS. */
function canLogInWithoutSmbios({ ssh, login, cloudInit }: MachineSpec<VM>): boolean {
  return ssh === undefined || ssh.login !== undefined || login !== undefined || cloudInit !== undefined
}

function loginImpossible(name: string): VMError {
  return optionError([
    {
      path: 'machine',
      got: `'${MICROVM}' for '${name}'`,
      expected:
        "another machine type, or `login: { user: 'root' }` or `ssh: false`: this machine type has no SMBIOS to pass the SSH key to the guest",
    },
  ])
}

function cloudInitUnsupported(image: string): VMError {
  return optionError([
    {
      path: 'cloudInit',
      got: `the image ${image}, which does not include cloud-init`,
      expected: 'a disk image that includes cloud-init',
    },
  ])
}

async function chooseHost(
  accel: AccelOption,
  { qemu, user }: Runner,
  { hasSandbox }: Pick<QemuCapabilities, 'hasSandbox'>,
  log: (line: string) => void,
): Promise<MachineHost> {
  const { name, timeFactor } = await chooseAccelerator({ accel, qemu, user, notify: log })
  return { qemu, user, hasSandbox, accelerator: name, timeFactor }
}

function isKvmFailure(error: unknown, spec: MachineSpec<VM>, host: MachineHost): boolean {
  return (
    spec.accel === 'auto' &&
    host.accelerator === 'kvm' &&
    error instanceof VMError &&
    error.code === 'ACCELERATOR_FAILED'
  )
}
