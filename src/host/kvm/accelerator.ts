import { resolveCacheDir } from '../../common/cache-dir.js'
import type { HostUser } from '../../common/process/host-user.js'
import { vmError } from '../../errors.js'
import { hostArch, isNative, isPc } from '../../spec/architectures.js'
import { openHostCache } from '../host-cache.js'
import { readLoadFactor } from '../load.js'
import type { QemuBinary } from '../qemu-binary.js'
import { learnAccelerators, rememberKvmFailure } from './accelerator-facts.js'
import { findKvmObstacle, type Obstacle } from './kvm-device.js'
import type { AcceleratorName } from './probe.js'

export interface AcceleratorOptions {
  readonly accel: 'auto' | AcceleratorName
  readonly qemu: QemuBinary
  /** @default what resolveCacheDir() gives */
  readonly cacheDir?: string | undefined
  /** Gets the one line that says that guests run without KVM, and why: once a day for each reason, over all processes. */
  readonly notify: (line: string) => void
  /** Probe again, whatever is remembered. @default false */
  readonly fresh?: boolean | undefined
  /** As whom guests run. @default who runs this process */
  readonly user?: HostUser | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Accelerator {
  readonly name: AcceleratorName
  /** Why it is not KVM, although KVM was tried. */
  readonly reason?: string
  /** What to do to have KVM. */
  readonly fix?: string
  /** How many times longer guests take here and now than on an idle host with KVM: 1 to 60. */
  readonly timeFactor: number
}

/**
 * How long the probe's loop takes on a host with KVM: 703,000 ticks at 2.607 GHz, measured with the same instructions
 * in a plain program on an AMD EPYC (Zen 4). Under TCG of QEMU 7.2 it takes 2.3 to 4.4 ms there.
 */
const REFERENCE_LOOP_MS = 0.27

/** Taken when the host is too busy to measure TCG: the middle of what the reference host shows. */
const USUAL_TCG_LOOP_MS = 3.3

/** A guest that is still slower than this is not worth waiting for. */
const MOST_TIME_FACTOR = 60

const UNDECIDED: Obstacle = {
  reason: 'this host was too busy to say whether KVM works',
  fix: 'The next run tries again.',
}

const UNPROVED: Obstacle = {
  reason: 'withvm has a guest to prove KVM with for PCs alone',
  fix: "Ask for it by name: accel: 'kvm'.",
}

/**
 * Decides whether guests run under KVM or TCG. `auto` takes KVM when a probe guest gets through under it, at a speed
 * that only hardware has; `kvm` is never replaced by TCG. What the probe showed is remembered until the host is booted again or its kernel,
 * QEMU or processor change. The first decision takes less than two seconds, every further one about a millisecond.
 *
 * @throws {InfrastructureError} ACCELERATOR_UNAVAILABLE when `kvm` was asked for and cannot run guests, or when
 * this QEMU has no other.
 */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  const { accel, qemu, user, signal, fresh = false } = options
  const cache = openHostCache(options.cacheDir ?? resolveCacheDir())
  const isForeign = !isNative(qemu.arch)
  const obstacle = isForeign
    ? otherProcessor(qemu)
    : accel === 'tcg'
      ? undefined
      : await findKvmObstacle({ cache, user, signal })
  const wantKvm = accel !== 'tcg' && obstacle === undefined
  if (accel === 'kvm' && obstacle !== undefined) throw kvmUnavailable(obstacle)
  if (!isPc(qemu.arch)) return chooseUnproved(accel, obstacle ?? UNPROVED, options)
  const facts = await learnAccelerators({ cache, qemu, wantKvm, fresh, signal })
  if (wantKvm && facts.kvm?.works === true) {
    return { name: 'kvm', timeFactor: resolveTimeFactor(facts.kvm.loopMs) }
  }
  const failure = obstacle ?? (facts.kvm?.works === false ? facts.kvm : UNDECIDED)
  if (accel === 'kvm') throw kvmUnavailable(failure)
  if (facts.tcgMissing) throw nothingLeft(qemu, accel === 'tcg' ? undefined : failure)
  const timeFactor = resolveTimeFactor(facts.tcgLoopMs ?? USUAL_TCG_LOOP_MS)
  if (accel === 'tcg' || isForeign) return { name: 'tcg', timeFactor }
  const { reason, fix } = failure
  if (await cache.isNews('tcg-announced', reason)) {
    options.notify(`guests run under TCG, much slower than under KVM: ${reason}. Fix: ${fix}`)
  }
  return { name: 'tcg', reason, fix, timeFactor }
}

/** The probe guest is a PC. Of another machine KVM is taken where it was asked for by name, and else not. */
async function chooseUnproved(
  accel: AcceleratorOptions['accel'],
  { reason, fix }: Obstacle,
  { qemu, notify, cacheDir }: AcceleratorOptions,
): Promise<Accelerator> {
  if (accel === 'kvm') return { name: 'kvm', timeFactor: resolveTimeFactor(REFERENCE_LOOP_MS) }
  const chosen = { name: 'tcg', timeFactor: resolveTimeFactor(USUAL_TCG_LOOP_MS) } as const
  // That a processor of another make is emulated is no news to anyone.
  if (accel === 'tcg' || !isNative(qemu.arch)) return chosen
  if (await openHostCache(cacheDir ?? resolveCacheDir()).isNews('tcg-announced', reason))
    notify(`guests run under TCG, much slower than under KVM: ${reason}. Fix: ${fix}`)
  return { ...chosen, reason, fix }
}

function otherProcessor({ arch }: QemuBinary): Obstacle {
  return {
    reason: `KVM runs guests of this host's own architecture, ${hostArch()}, and this one is ${arch}`,
    fix: "Run it under TCG: accel: 'tcg'.",
  }
}

/** Remembers that KVM failed while a guest ran under it: later guests run under TCG. */
export async function forgetKvm(
  reason: string,
  options: { readonly qemu: QemuBinary; readonly cacheDir?: string | undefined },
): Promise<void> {
  await rememberKvmFailure(reason, openHostCache(options.cacheDir ?? resolveCacheDir()), options.qemu)
}

/** How many times longer things take where the probe's loop takes that long, under the present load. */
export function resolveTimeFactor(loopMs: number, loadFactor = readLoadFactor()): number {
  const factor = Math.max(1, loopMs / REFERENCE_LOOP_MS) * loadFactor
  return Math.round(Math.min(MOST_TIME_FACTOR, factor) * 10) / 10
}

function kvmUnavailable(obstacle: Obstacle): Error {
  return vmError('ACCELERATOR_UNAVAILABLE', {
    summary: "accel: 'kvm' was asked for, but KVM cannot run guests here.",
    got: obstacle.reason,
    hint: `${obstacle.fix} Or leave accel at 'auto', which takes TCG where KVM does not work.`,
  })
}

function nothingLeft(qemu: QemuBinary, failure: Obstacle | undefined): Error {
  return vmError('ACCELERATOR_UNAVAILABLE', {
    summary: `${qemu.path} cannot run guests here: it is built without TCG${failure ? ', and KVM does not work' : ''}.`,
    ...(failure === undefined ? {} : { got: failure.reason }),
    hint: `${failure?.fix ?? "Ask for accel: 'kvm'."} Or use a QEMU that has TCG.`,
  })
}
