import { readFile } from 'node:fs/promises'
import { findTemporaryCache } from '../common/cache-dir.js'
import { createLog, logToStderr } from '../common/log.js'
import type { HostUser } from '../common/process/host-user.js'
import type { VMError } from '../errors.js'
import { openHostCache } from '../host/host-cache.js'
import { chooseAccelerator } from '../host/kvm/accelerator.js'
import { queryCapabilities } from '../host/qemu-capabilities.js'
import { resolveImage } from '../image/resolve-image.js'
import type { BaseImage } from '../spec/base-image.js'
import { DEFAULTS } from '../spec/defaults.js'
import { PreparedSource } from '../spec/image-definition.js'
import { type ImportReport, NOTHING_IMPORTED } from '../spec/import-report.js'
import { readSystemDisk } from '../spec/list-disks.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { MICROVM } from '../spec/microvm.js'
import type { VMOptions } from '../spec/options.js'
import { isKeyFile, resolveSpec } from '../spec/resolve/resolve-spec.js'
import { optionError } from '../spec/validate-options.js'
import { createLayerBuilder } from '../vm/boot/layer.js'
import { requireBootable } from '../vm/machine/bootable.js'
import { listFileAccesses, requireFileAccess } from '../vm/machine/file-access.js'
import type { GuestPlan, MachineHost, RunSettings } from '../vm/machine/guest-plan.js'
import { resolveKeepMs } from '../vm/power/keep.js'
import { newGuestName } from '../vm/workspace/guest-name.js'
import { checkOptions, type Runner } from './check-options.js'
import { setDefaultAccelerator } from './default-accelerator.js'
import { findFirmwareAndTools } from './firmware-and-tools.js'
import { importOptions, logImport } from './import-options.js'
import { openDisks } from './open-disks.js'
import { startCold, startPlanned } from './start-planned.js'
import { sweepDeadRunsOnce } from './sweep-once.js'

/** A guest that can be started: its options are valid, and its image and host are known. */
export interface LaunchPlan extends GuestPlan {
  /** Settles when the files of dead runs are removed. */
  readonly swept: Promise<unknown>
}

/**
 * Plans a guest: imports and validates its options, resolves its image, and selects QEMU and
 * accelerator.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once, IMAGE_NOT_FOUND, IMAGE_INVALID,
 *   MACHINE_UNSUPPORTED.
 * @throws {InfrastructureError} QEMU_NOT_FOUND, QEMU_TOO_OLD, ACCELERATOR_UNAVAILABLE.
 */
export async function planGuest(given: VMOptions): Promise<LaunchPlan> {
  const { options: imported, importReport } = await importOptions(given)
  const runner = await checkOptions(imported)
  const options = setDefaultAccelerator(imported, runner.qemu.arch)
  const run = resolveRun(options, importReport)
  run.signal?.throwIfAborted()
  await reportTemporaryCache(run.log)
  const swept = sweepDeadRunsOnce(run.tmpdir, runner.user)
  const image = await findImage(options, runner)
  const machine = await describeMachine(options, image, runner, run)
  logImport(importReport, machine.name, run.log)
  const steps = options.image instanceof PreparedSource ? options.image.steps : []
  return { ...machine, steps, run, swept }
}

/** Logs, once per reason, that the cache is in the temporary directory, where it may be deleted. */
async function reportTemporaryCache(log: (line: string) => void): Promise<void> {
  const cache = findTemporaryCache()
  if (cache === undefined) return
  const { dir, reason } = cache
  if (await openHostCache(dir).shouldReport('temporary-cache-announced', reason))
    log(`images are cached in ${dir}: ${reason}. Fix: Set WITHVM_CACHE to a persistent directory.`)
}

/** @throws {UsageError} INVALID_OPTIONS when WITHVM_KEEP has an invalid value. */
function resolveRun(options: VMOptions, importReport: ImportReport): RunSettings {
  const keepMs = resolveKeepMs(options)
  return {
    tmpdir: options.tmpdir,
    artifacts: options.artifacts ?? process.env.WITHVM_ARTIFACTS,
    memoryDump: options.memoryDump ?? false,
    keepMs,
    signal: options.signal,
    log: createLog(options.log ?? logToStderr),
    importReport,
    // A guest that may be kept outlives this process, so none is prepared in advance.
    standby: keepMs === undefined ? options.standby : false,
  }
}

async function findImage(
  options: VMOptions,
  { qemu: { arch }, user }: Runner,
): Promise<BaseImage | undefined> {
  const bootsDefaultImage = options.kernel === undefined && options.netboot === undefined
  const image = readSystemDisk(options).image ?? (bootsDefaultImage ? DEFAULTS.image : false)
  if (image === false) return undefined
  const source = image instanceof PreparedSource ? image.source : image
  const { signal } = options
  return resolveImage(source, { arch, signal, detached: true, startLayers: startLayersAs(user) })
}

/** Returns the function that builds image layers and starts guests as the same host user. */
export function startLayersAs(user: HostUser | undefined) {
  const plan = async (image: BaseImage, options: VMOptions): Promise<GuestPlan> => {
    const run: RunSettings = {
      ...resolveRun(options, NOTHING_IMPORTED),
      artifacts: undefined,
      keepMs: undefined,
      buildsImage: true,
    }
    const { qemu } = await checkOptions(options)
    const settings = setDefaultAccelerator(options, qemu.arch)
    return { ...(await describeMachine(settings, image, { qemu, user }, run)), steps: [], run }
  }
  return createLayerBuilder({
    boot: async (image, options) =>
      startCold(await plan(image, { ...options, start: 'cold' }), 'the guest builds an image'),
    startHelper: async (options, arch) =>
      startPlanned(await plan(await resolveImage('tiny', { arch, signal: options.signal }), options)),
  })
}

async function describeMachine(
  options: VMOptions,
  image: BaseImage | undefined,
  { qemu, user }: Runner,
  { tmpdir, signal, log }: RunSettings,
): Promise<Pick<GuestPlan, 'name' | 'spec' | 'host'>> {
  if (options.cloudInit && image?.traits.mayHaveCloudInit === false)
    throw cloudInitUnsupportedError(image.name)
  const { hasSandbox } = await queryCapabilities(qemu, { signal })
  const spec = resolveSpec(await readKeyFile(options), image, await openDisks(options))
  if (spec.machine === MICROVM && !canLogInWithoutSmbios(spec)) throw loginImpossibleError(spec.name)
  await requireBootable(spec, signal)
  const name = newGuestName(spec.name)
  for (const { content, isWrittenDirectly } of spec.disks) {
    if (isWrittenDirectly && content.kind === 'image')
      log(`'${name}' writes directly to ${content.file.path}: snapshot is false.`)
  }
  const { name: accelerator, timeFactor } = await chooseAccelerator({
    accel: spec.accel,
    qemu,
    user,
    notify: log,
  })
  const firmwareAndTools = await findFirmwareAndTools(spec, qemu)
  const host: MachineHost = { qemu, user, hasSandbox, accelerator, timeFactor, ...firmwareAndTools }
  if (user !== undefined) await requireFileAccess(user, await listFileAccesses(spec, host, tmpdir))
  return { name, spec, host }
}

/**
 * Replaces a private key file with its content. The validation has checked that the file is
 * readable.
 */
async function readKeyFile(options: VMOptions): Promise<VMOptions> {
  const { ssh } = options
  if (!ssh || !isKeyFile(ssh.privateKey)) return options
  return { ...options, ssh: { ...ssh, privateKey: await readFile(ssh.privateKey.file) } }
}

/** Returns true if the SSH login does not depend on a key that is passed through SMBIOS. */
function canLogInWithoutSmbios({ ssh, login, cloudInit }: MachineSpec): boolean {
  return ssh === undefined || ssh.login !== undefined || login !== undefined || cloudInit !== undefined
}

function loginImpossibleError(name: string): VMError {
  return optionError([
    {
      path: 'machine',
      got: `'${MICROVM}' for '${name}', which has no SMBIOS to pass the SSH key to the guest`,
      expected: "another machine type, or one of `login: { user: 'root' }` and `ssh: false`",
    },
  ])
}

function cloudInitUnsupportedError(image: string): VMError {
  return optionError([
    {
      path: 'cloudInit',
      got: `the image ${image}, which does not include cloud-init`,
      expected: 'a disk image that includes cloud-init',
    },
  ])
}
