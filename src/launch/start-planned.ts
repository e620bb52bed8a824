import { VMError } from '../errors.js'
import { chooseAccelerator, forgetKvm } from '../host/kvm/accelerator.js'
import { bootMachine } from '../vm/boot/boot.js'
import { runPreparation } from '../vm/guest/run-preparation.js'
import type { VM } from '../vm/guest/vm.js'
import type { GuestPlan } from '../vm/machine/guest-plan.js'
import { newGuestName } from '../vm/workspace/guest-name.js'
import { findColdReason } from '../warm/eligibility.js'
import { startWarm } from '../warm/start-warm.js'

/**
 * Starts a planned guest. If KVM fails, starts it again with TCG, unless the options require KVM.
 */
export async function startPlanned(plan: GuestPlan): Promise<VM> {
  try {
    return await startWarmOrCold(plan)
  } catch (error) {
    if (!isKvmFailure(error, plan)) throw error
    const { host, run } = plan
    const { summary } = error.details
    await forgetKvm(summary, { qemu: host.qemu })
    run.log(`KVM failed while the guest was running (${summary}); the guest is started again with TCG.`)
    const { qemu, user } = host
    const { name, timeFactor } = await chooseAccelerator({ accel: 'tcg', qemu, user, notify: run.log })
    const again = { ...plan, name: newGuestName(plan.spec.name) }
    return await startWarmOrCold({ ...again, host: { ...host, accelerator: name, timeFactor } })
  }
}

/** Starts the guest warm if it is eligible, otherwise cold. */
async function startWarmOrCold(plan: GuestPlan): Promise<VM> {
  const { spec, run } = plan
  const cold = findColdReason(spec)
  if (cold === undefined) {
    const start = await startWarm(plan)
    return 'guest' in start ? start.guest.vm : startCold({ ...plan, name: start.name }, start.coldReason)
  }
  const { reason, fix } = cold
  const isNew = fix !== undefined && !reported.has(reason)
  if (spec.start === 'warm' || isNew)
    run.log(`'${plan.name}' is booted cold: ${reason}.${fix === undefined ? '' : ` Fix: ${fix}`}`)
  reported.add(reason)
  return startCold(plan, reason)
}

/** Reasons for avoidable cold boots that this process has logged. */
const reported = new Set<string>()

/**
 * Boots the guest and runs the preparation steps, which a warm start would have in its template, in
 * the guest itself.
 */
export async function startCold(plan: GuestPlan, reason: string): Promise<VM> {
  const { vm } = await bootMachine(plan, { startedFrom: { kind: 'cold', reason } })
  try {
    for (const step of plan.steps) await runPreparation(step, vm)
    return vm
  } catch (error) {
    await vm.dispose()
    throw error
  }
}

function isKvmFailure(error: unknown, { spec, host }: GuestPlan): error is VMError {
  return (
    spec.accel === 'auto' &&
    host.accelerator === 'kvm' &&
    error instanceof VMError &&
    error.code === 'ACCELERATOR_FAILED'
  )
}
