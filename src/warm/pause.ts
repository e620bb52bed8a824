import { buildClockMessage } from '../provisioning/guest-identity.js'
import { findAgentArch } from '../provisioning/identity-agent/target.js'
import type { BootedGuest } from '../vm/boot/boot.js'
import { isReadyOverSsh, stageLimitMs } from '../vm/power/readiness.js'
import { untilIdle } from './idle.js'

/**
 * Prepares a guest to be used immediately, then pauses it: connections are open, the code they need
 * is translated, and background work after the boot is done.
 * @param hurry ends the wait for background work.
 */
export async function pauseGuest({ vm, machine, session }: BootedGuest, hurry: AbortSignal): Promise<void> {
  const { ssh, ready, image } = machine.spec
  const hasSsh = ssh !== undefined && (image?.traits.identity !== undefined || isReadyOverSsh(machine.spec))
  const hasAgent = image?.traits.hasAgent === true || ready === 'agent'
  await Promise.all([hasSsh ? vm.ssh`true` : undefined, hasAgent ? vm.exec('true') : undefined])
  await untilIdle(vm.pid, hurry)
  await session.qmp.execute('stop')
  machine.transcripts.commands.clear()
}

/** Resumes a paused guest and sets its clock. Returns false if the guest does not respond. */
export async function continueGuest(
  { machine, session }: BootedGuest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { failure } = session.watch
  const arch = findAgentArch(machine.spec.arch)
  if (failure.aborted || arch === undefined) return false
  const wait = { timeoutMs: stageLimitMs(machine, 'login'), signal }
  try {
    await Promise.all([
      session.resume(wait),
      machine.identityAgent.send(buildClockMessage(arch, machine.clock.start()), wait),
    ])
    return true
  } catch {
    signal?.throwIfAborted()
    return false
  }
}
