import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import { formatDuration } from '../../common/duration.js'
import { type VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import { isLater } from '../watch/boot-stages.js'
import type { Session } from './session.js'

/** A guest that says when its init starts, a second after its own start under KVM, is not running if it has not by then. */
const STUCK_MS = 8_000
/** The share of its time above which a virtual CPU that gets nowhere counts as spinning. */
const SPINNING = 0.8

/**
 * Finds out a KVM that was thought to work and does not: QEMU reports an internal error, or the virtual CPU
 * spins without any progress right after the start. Either is a failure of the accelerator, not of the guest.
 */
export function watchKvm(machine: Machine, session: Session): void {
  if (machine.host.accelerator !== 'kvm') return
  const fail = (reason: string) => session.watch.fail(kvmFailed(reason))
  session.process.onStderr((stderr) => {
    const line = /KVM internal error.*/.exec(stderr)?.[0]
    if (line !== undefined) fail(line)
  })
  session.qmp.on('STOP', () => {
    session.qmp.execute('query-status').then(
      ({ status }) =>
        status === 'internal-error' && fail("QEMU stopped the guest with the status 'internal-error'"),
      () => {},
    )
  })
  const timer = setTimeout(async () => {
    const stuck = await findStuckKvm(machine, session)
    if (stuck !== undefined) session.watch.fail(stuck)
  }, STUCK_MS * busyFactor())
  timer.unref()
  void session.process.exited.then(() => clearTimeout(timer))
}

/** Whether a guest that gets nowhere under KVM is the fault of KVM: its virtual CPU spins, and its init has not started. */
export async function findStuckKvm(machine: Machine, session: Session): Promise<VMError | undefined> {
  const saysWhenInitStarts = machine.spec.image?.traits.sshReadyPattern !== undefined
  if (machine.host.accelerator !== 'kvm' || !saysWhenInitStarts) return undefined
  if (isLater(session.watch.stage, 'kernel') || session.process.exit !== undefined) return undefined
  const { ageMs } = session.watch
  if ((await demandedShare(session.process.pid, ageMs)) < SPINNING) return undefined
  return kvmFailed(`no init process after ${formatDuration(ageMs)} with the virtual CPU spinning`)
}

/** How many processes share a processor of this host; 1 at least. */
function busyFactor(): number {
  return Math.max(1, (loadavg()[0] ?? 0) / availableParallelism())
}

/**
 * The share of its time in which the busiest thread of a process ran or wanted to: on a busy host a virtual CPU that
 * spins mostly waits for its turn. `schedstat` has nanoseconds on a processor, then nanoseconds in a queue (proc(5)).
 */
async function demandedShare(pid: number, ageMs: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const shares = threads.map(async (thread) => {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '')
    const [runningNs = 0, queuedNs = 0] = text.split(' ').map(Number)
    return (runningNs + queuedNs) / 1e6 / ageMs
  })
  return Math.max(0, ...(await Promise.all(shares)))
}

function kvmFailed(reason: string): VMError {
  return vmError('ACCELERATOR_FAILED', {
    summary: `KVM could not run the guest: ${reason}.`,
    hint: "accel: 'auto' starts such a guest again under TCG; `withvm doctor` tells what KVM can do here.",
  })
}
