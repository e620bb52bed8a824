import { withReservation } from '../budget/holder.js'
import { reserveCapacity } from '../budget/take-lease.js'
import { combineSignals } from '../common/combine-signals.js'
import { requireProc, toHostError } from '../common/host-error.js'
import type { VMOptions } from '../spec/options.js'
import type { VM } from '../vm/guest/vm.js'
import { describeGuestKind } from '../vm/machine/guest-kind.js'
import { findColdReason } from '../warm/eligibility.js'
import { type LaunchPlan, planGuest } from './plan-guest.js'
import { startPlanned } from './start-planned.js'

/**
 * Starts a guest: validates the options, finds QEMU and the accelerator, prepares the image, then
 * restores the guest from a template or boots it. If any step fails, all resources are released.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once, IMAGE_NOT_FOUND, IMAGE_INVALID,
 *   MACHINE_UNSUPPORTED.
 * @throws {InfrastructureError} QEMU_NOT_FOUND, QEMU_TOO_OLD, ACCELERATOR_UNAVAILABLE, NO_SPACE,
 *   PORT_UNAVAILABLE, …
 * @throws {GuestError} BOOT_TIMEOUT, GUEST_PANICKED, … with the stage and the console's last lines.
 * @example await using vm = await launchVM({ image: 'tiny' })
 */
export async function launchVM(given: VMOptions = {}): Promise<VM> {
  return onHost(async () => {
    const plan = await planGuest(given)
    try {
      return await startPlanned(plan)
    } finally {
      await plan.swept
    }
  })
}

/**
 * Starts several guests concurrently. Capacity for all of them is reserved before the first one
 * starts. If one guest fails, the others are disposed of.
 *
 * @throws the errors of {@link launchVM}; the first one if several guests fail.
 */
export async function launchVMs(given: readonly VMOptions[]): Promise<VM[]> {
  return given.length === 0 ? [] : onHost(() => launchTogether(given))
}

async function launchTogether(given: readonly VMOptions[]): Promise<VM[]> {
  const failure = new AbortController()
  const planned = await Promise.all(given.map(planGuest))
  const plans = planned.map((plan) => withSignal(plan, failure.signal))
  const reserved = await reserveForAll(plans, failure.signal)
  try {
    const starts = plans.map((plan) => withReservation(reserved, () => startPlanned(plan)))
    for (const start of starts) start.catch((error: unknown) => failure.abort(error))
    const results = await Promise.allSettled(starts)
    const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    if (started.length === plans.length) return started
    await Promise.allSettled(started.map((vm) => vm.dispose()))
    throw failure.signal.reason
  } finally {
    await reserved.release()
    await Promise.all(plans.map(({ swept }) => swept))
  }
}

function withSignal(plan: LaunchPlan, failure: AbortSignal): LaunchPlan {
  const signal = combineSignals(failure, plan.run.signal)
  return { ...plan, run: { ...plan.run, signal } }
}

/**
 * Reserves capacity for all guests, so that two groups of guests cannot block each other half-way.
 */
function reserveForAll(plans: readonly LaunchPlan[], failure: AbortSignal) {
  const requests = plans.map(({ name, spec, host }) => {
    const isClone = findColdReason(spec) === undefined
    return { name, kind: describeGuestKind(spec, host, { isClone }) }
  })
  const log = plans[0]?.run.log ?? (() => {})
  return reserveCapacity(requests, {
    signal: combineSignals(failure, ...plans.map(({ run }) => run.signal)),
    log,
  })
}

/**
 * Runs a launch, and converts errors about host limits, such as too many open files, to
 * `InfrastructureError`.
 */
async function onHost<T>(launch: () => Promise<T>): Promise<T> {
  requireProc()
  try {
    return await launch()
  } catch (error) {
    throw toHostError(error)
  }
}
