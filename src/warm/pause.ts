import { buildClockMessage } from '../provisioning/guest-identity.js'
import type { BootedGuest } from '../vm/boot/boot.js'
import { stageDeadlineMs } from '../vm/power/readiness.js'
import { untilIdle } from './idle.js'

/**
 * Makes the guest ready to the last: with its connections open, the code that they need translated, and what it does by
 * itself at its start done. Then stops it.
 * @param hurry ends the wait for what the guest does by itself.
 */
export async function pauseGuest({ vm, machine, session }: BootedGuest, hurry: AbortSignal): Promise<void> {
  await Promise.all([vm.ssh`true`, vm.exec('true')])
  await untilIdle(vm.pid, hurry)
  await session.qmp.execute('stop')
  machine.transcripts.commands.clear()
}

/** Lets a guest that was stopped go on, and sets its clock. Gives whether it is there. */
export async function continueGuest(
  { machine, session }: BootedGuest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { failure } = session.watch
  if (failure.aborted) return false
  const wait = { timeoutMs: stageDeadlineMs(machine, 'login'), signal }
  try {
    await Promise.all([
      session.qmp.execute('cont', {}, wait),
      machine.identityAgent.tell(buildClockMessage(), wait),
    ])
    return true
  } catch {
    signal?.throwIfAborted()
    return false
  }
}
