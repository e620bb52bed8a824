import { join } from 'node:path'
import { resolveCacheDir } from '../../common/cache-dir.js'
import type { HostUser } from '../../common/process/host-user.js'
import { vmError } from '../../errors.js'
import { hostArch, isNative, isPc } from '../../spec/architectures.js'
import { openHostCache } from '../host-cache.js'
import { readLoadFactor } from '../load.js'
import type { QemuBinary } from '../qemu-binary.js'
import { factName, probeAccelerators } from './accelerator-facts.js'
import { findKvmObstacle, type Obstacle } from './kvm-device.js'
import type { AcceleratorName } from './probe.js'

export interface AcceleratorOptions {
  readonly accel: 'auto' | AcceleratorName
  readonly qemu: QemuBinary
  /** Cache directory. @default `resolveCacheDir()` */
  readonly cacheDir?: string | undefined
  /**
   * Receives the message that guests run without KVM, once a day for each reason across all
   * processes.
   */
  readonly notify: (line: string) => void
  /** If true, cached probe results are ignored. @default false */
  readonly fresh?: boolean | undefined
  /** Host user that runs QEMU. @default the user of this process */
  readonly user?: HostUser | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Accelerator {
  readonly name: AcceleratorName
  /** Reason why KVM is not used although it was considered. */
  readonly reason?: string
  /** Action that enables KVM. */
  readonly fix?: string
  /** Slowdown of guests relative to an idle host with KVM: 1 to 60. */
  readonly timeFactor: number
}

/**
 * Duration of the probe's loop on a host with KVM: 703,000 ticks at 2.607 GHz, measured with the
 * same instructions in a plain program on an AMD EPYC (Zen 4). With TCG of QEMU 7.2 the loop takes
 * 2.3 to 4.4 ms on that host.
 */
const REFERENCE_LOOP_MS = 0.27

/**
 * Default when the host is too busy to measure TCG: the middle of the range on the reference host.
 */
const USUAL_TCG_LOOP_MS = 3.3

/** Upper bound, so that timeouts stay finite on extremely slow hosts. */
const MAX_TIME_FACTOR = 60

const UNDECIDED: Obstacle = {
  reason: 'this host was too busy to probe KVM',
  fix: 'Run again when the host is less busy.',
}

const UNTESTED: Obstacle = {
  reason: 'withvm can probe KVM on x86 only',
  fix: "Set `accel: 'kvm'`.",
}

/**
 * Chooses KVM or TCG. `auto` selects KVM if a probe guest passes at the speed of hardware; `kvm`
 * never falls back to TCG. Probe results are cached until the next boot of the host, or a change of
 * its kernel, QEMU or processor. The first decision takes less than two seconds, later ones about a
 * millisecond.
 *
 * @throws {InfrastructureError} ACCELERATOR_UNAVAILABLE when `kvm` is requested and cannot run
 * guests, or when QEMU supports no other accelerator.
 */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  const { accel, qemu, user, signal, fresh = false } = options
  const cache = openHostCache(options.cacheDir ?? resolveCacheDir())
  const isForeignArch = !isNative(qemu.arch)
  const obstacle = isForeignArch
    ? foreignArch(qemu)
    : accel === 'tcg'
      ? undefined
      : ((await findKvmObstacle({ cache, user, signal })) ?? findGuestFailure(options))
  const probeKvm = accel !== 'tcg' && obstacle === undefined
  if (accel === 'kvm' && obstacle !== undefined) throw kvmUnavailableError(obstacle)
  if (!isPc(qemu.arch)) return chooseWithoutProbe(accel, obstacle ?? UNTESTED, options)
  const facts = await probeAccelerators({ cache, qemu, probeKvm, fresh, signal })
  if (probeKvm && facts.kvm?.works === true) {
    return { name: 'kvm', timeFactor: resolveTimeFactor(facts.kvm.loopMs) }
  }
  const failure = obstacle ?? (facts.kvm?.works === false ? facts.kvm : UNDECIDED)
  if (accel === 'kvm') throw kvmUnavailableError(failure)
  if (facts.tcgMissing) throw noAcceleratorError(qemu, accel === 'tcg' ? undefined : failure)
  const timeFactor = resolveTimeFactor(facts.tcgLoopMs ?? USUAL_TCG_LOOP_MS)
  if (accel === 'tcg' || isForeignArch) return { name: 'tcg', timeFactor }
  const { reason, fix } = failure
  if (await cache.shouldReport('tcg-announced', reason)) {
    options.notify(`guests run with TCG, which is much slower than KVM: ${reason}. Fix: ${fix}`)
  }
  return { name: 'tcg', reason, fix, timeFactor }
}

function findGuestFailure(options: AcceleratorOptions): Obstacle | undefined {
  const { accel, fresh = false } = options
  return accel === 'auto' && !fresh ? guestFailures.get(factPath(options)) : undefined
}

/** Path of the facts about the host, which are valid for one cache. */
function factPath({ qemu, cacheDir }: Pick<AcceleratorOptions, 'qemu' | 'cacheDir'>): string {
  return join(cacheDir ?? resolveCacheDir(), factName(qemu))
}

/**
 * Chooses the accelerator for architectures that the probe guest does not support (all but x86):
 * KVM only on request.
 */
async function chooseWithoutProbe(
  accel: AcceleratorOptions['accel'],
  { reason, fix }: Obstacle,
  { qemu, notify, cacheDir }: AcceleratorOptions,
): Promise<Accelerator> {
  if (accel === 'kvm') return { name: 'kvm', timeFactor: resolveTimeFactor(REFERENCE_LOOP_MS) }
  const chosen = { name: 'tcg', timeFactor: resolveTimeFactor(USUAL_TCG_LOOP_MS) } as const
  // Emulation of a foreign architecture is expected and not reported.
  if (accel === 'tcg' || !isNative(qemu.arch)) return chosen
  if (await openHostCache(cacheDir ?? resolveCacheDir()).shouldReport('tcg-announced', reason))
    notify(`guests run with TCG, which is much slower than KVM: ${reason}. Fix: ${fix}`)
  return { ...chosen, reason, fix }
}

function foreignArch({ arch }: QemuBinary): Obstacle {
  return {
    reason: `KVM supports only guests of the host architecture ${hostArch()}, and this guest is ${arch}`,
    fix: "Set `accel: 'tcg'`.",
  }
}

/** KVM failures of guests in this process, by the path of the facts about the host. */
const guestFailures = new Map<string, Obstacle>()

/**
 * Records that KVM failed while a guest was running, and probes KVM again. Later guests of this
 * process run with TCG under `accel: 'auto'`. Later runs do so only if the probe fails too, because
 * a guest can cause the failure itself.
 */
export async function forgetKvm(
  reason: string,
  { qemu, cacheDir }: Pick<AcceleratorOptions, 'qemu' | 'cacheDir'>,
): Promise<void> {
  guestFailures.set(factPath({ qemu, cacheDir }), {
    reason: `a guest failed under KVM: ${reason}`,
    fix: "Run the tests again to retry KVM, or set `accel: 'kvm'` to require it.",
  })
  const cache = openHostCache(cacheDir ?? resolveCacheDir())
  await probeAccelerators({ cache, qemu, probeKvm: true, fresh: true, signal: undefined })
}

/** Returns the slowdown of guests for a duration of the probe's loop and the current load. */
export function resolveTimeFactor(loopMs: number, loadFactor = readLoadFactor()): number {
  const factor = Math.max(1, loopMs / REFERENCE_LOOP_MS) * loadFactor
  return Math.round(Math.min(MAX_TIME_FACTOR, factor) * 10) / 10
}

function kvmUnavailableError(obstacle: Obstacle): Error {
  return vmError('ACCELERATOR_UNAVAILABLE', {
    summary: 'KVM cannot run guests on this host.',
    expected: "a working KVM, as required by `accel: 'kvm'` or WITHVM_ACCEL=kvm",
    got: obstacle.reason,
    hint: `${obstacle.fix} Alternatively, set \`accel: 'auto'\` to fall back to TCG.`,
  })
}

function noAcceleratorError(qemu: QemuBinary, failure: Obstacle | undefined): Error {
  return vmError('ACCELERATOR_UNAVAILABLE', {
    summary: `${qemu.path} cannot run guests on this host: it is built without TCG${failure ? ', and KVM does not work' : ''}.`,
    ...(failure === undefined ? {} : { got: failure.reason }),
    hint: `${failure?.fix ?? "Set `accel: 'kvm'`."} Alternatively, use a QEMU that is built with TCG.`,
  })
}
