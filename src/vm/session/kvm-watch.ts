import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import { formatDuration } from '../../common/duration.js'
import { type VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import { isLater } from '../watch/boot-stages.js'
import type { Session } from './session.js'

/**
 * Time after which a guest that reports the start of its init counts as stuck. Under KVM, init
 * starts after one second.
 */
const STUCK_MS = 8_000
/** Share of its time above which a virtual CPU without progress counts as spinning. */
const SPINNING_SHARE = 0.8

/**
 * Detects a failure of KVM after its probe succeeded: QEMU reports an internal error, or the
 * virtual CPU spins without progress after the start. Both are failures of the accelerator, not of
 * the guest.
 */
export function watchKvm(machine: Machine, session: Session): void {
  if (machine.host.accelerator !== 'kvm') return
  const fail = (reason: string) => session.watch.fail(kvmFailedError(reason))
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
  }, STUCK_MS * loadFactor())
  timer.unref()
  void session.process.exited.then(() => clearTimeout(timer))
}

/**
 * Returns an error if KVM causes the lack of progress: the virtual CPU spins, and init has not
 * started.
 */
export async function findStuckKvm(machine: Machine, session: Session): Promise<VMError | undefined> {
  const reportsInit = machine.spec.image?.traits.sshReadyPattern !== undefined
  if (machine.host.accelerator !== 'kvm' || !reportsInit) return undefined
  if (isLater(session.watch.stage, 'kernel') || session.process.exit !== undefined) return undefined
  const { ageMs } = session.watch
  if ((await demandedShare(session.process.pid, ageMs)) < SPINNING_SHARE) return undefined
  return kvmFailedError(`no init process after ${formatDuration(ageMs)} with the virtual CPU spinning`)
}

/** Returns the number of processes per host CPU, 1 or more. */
function loadFactor(): number {
  return Math.max(1, (loadavg()[0] ?? 0) / availableParallelism())
}

/**
 * Returns the share of time in which the busiest thread of a process ran or was in the run queue.
 * On a busy host, a spinning virtual CPU is mostly in the queue. `schedstat` has nanoseconds on a
 * CPU, then in the run queue (proc(5)).
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

function kvmFailedError(reason: string): VMError {
  return vmError('ACCELERATOR_FAILED', {
    summary: `KVM could not run the guest: ${reason}.`,
    hint: "Set `accel: 'auto'` to restart the guest under TCG when KVM fails, or check KVM with `withvm doctor`.",
  })
}
