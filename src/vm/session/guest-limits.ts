import { formatBytes } from '../../common/units.js'
import { type VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from './session.js'

/**
 * Number of resets by the guest itself, in quick succession, that count as a reboot loop. Resets by
 * the test do not count.
 */
const MAX_RESETS_IN_A_ROW = 10
const RESET_INTERVAL_MS = 60_000

/**
 * Stops a guest that exceeds its limits: of disk space, of console output, or of resets in a row.
 * Waits for the guest end with the error.
 */
export function watchLimits(machine: Machine, session: Session): void {
  watchDisks(machine, session)
  watchConsole(machine, session)
  watchResets(machine, session)
}

function watchDisks({ diskUse, spec: { limits } }: Machine, session: Session): void {
  diskUse.watch(session.qmp, () => session.halt(diskLimitError(limits.diskBytes)))
}

function watchConsole({ serial, spec: { limits } }: Machine, session: Session): void {
  const stop = serial.onText(() => {
    if (serial.printedBytes <= limits.consoleBytes) return
    stop()
    session.halt(consoleLimitError(limits.consoleBytes))
  })
  void session.ended.then(stop)
}

function watchResets({ host }: Machine, session: Session): void {
  let count = 0
  let latest = Number.NEGATIVE_INFINITY
  session.onReset(() => {
    const now = performance.now()
    if (session.guestResets === 0 || now - latest > RESET_INTERVAL_MS * host.timeFactor) count = 0
    count = Math.min(count + 1, session.guestResets)
    latest = now
    // Other listeners treat the reset as the start of a new boot, so they run first.
    if (count >= MAX_RESETS_IN_A_ROW) setImmediate(() => session.halt(resetLoopError(count)))
  })
}

function diskLimitError(bytes: number): VMError {
  return vmError('DISK_LIMIT_EXCEEDED', {
    summary: 'The guest was stopped: it exceeded the limit of its disk space on the host.',
    expected: `at most ${formatBytes(bytes)} in total for changes to all disks and for checkpoints`,
    hint: 'Raise `limits: { disk: … }`, or reduce the amount of data that the guest writes.',
  })
}

function consoleLimitError(bytes: number): VMError {
  return vmError('CONSOLE_LIMIT_EXCEEDED', {
    summary: 'The guest was stopped: it exceeded the limit of its console output.',
    expected: `at most ${formatBytes(bytes)}`,
    hint: 'Find the program that prints so much in the last lines, or raise `limits: { console: … }`.',
  })
}

function resetLoopError(count: number): VMError {
  return vmError('GUEST_REBOOT_LOOP', {
    summary: `The guest was stopped: it reset itself ${count} times in a row.`,
    hint: 'Check the serial console before each reset. Use `vm.reboot()` for a reboot that the test intends.',
  })
}
