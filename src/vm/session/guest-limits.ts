import { formatBytes } from '../../common/units.js'
import { type VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from './session.js'

/** So many resets by the guest itself, each soon after the one before, are a loop. A test that means them asks for them. */
const RESETS_IN_A_ROW = 10
const SOON_MS = 60_000

/**
 * Stops a guest that takes more of this host than it was given: of its disk, of the space for its console's log, or of
 * its time by resetting again and again. What waits for the guest ends with an error that says so.
 */
export function watchLimits(machine: Machine, session: Session): void {
  watchDisks(machine, session)
  watchConsole(machine, session)
  watchResets(machine, session)
}

function watchDisks({ diskUse, spec: { limits } }: Machine, session: Session): void {
  diskUse.watch(session.qmp, () => session.halt(diskLimit(limits.diskBytes)))
}

function watchConsole({ serial, spec: { limits } }: Machine, session: Session): void {
  const stop = serial.onText(() => {
    if (serial.printedBytes <= limits.consoleBytes) return
    stop()
    session.halt(consoleLimit(limits.consoleBytes))
  })
  void session.ended.then(stop)
}

function watchResets({ host }: Machine, session: Session): void {
  let count = 0
  let latest = Number.NEGATIVE_INFINITY
  session.onReset(() => {
    const now = performance.now()
    if (session.guestResets === 0 || now - latest > SOON_MS * host.timeFactor) count = 0
    count = Math.min(count + 1, session.guestResets)
    latest = now
    // What else listens takes the reset for the start of something new: it is to know first.
    if (count >= RESETS_IN_A_ROW) setImmediate(() => session.halt(resetLoop(count)))
  })
}

function diskLimit(bytes: number): VMError {
  return vmError('DISK_LIMIT_PASSED', {
    summary: 'The guest has filled its disks beyond what it was given of this host: it was stopped.',
    expected: `at most ${formatBytes(bytes)} of what it changes on all of its disks, with its checkpoints`,
    hint: 'let the guest write less, or raise `limits: { disk: … }`.',
  })
}

function consoleLimit(bytes: number): VMError {
  return vmError('CONSOLE_LIMIT_PASSED', {
    summary: 'The guest has flooded its serial console: it was stopped.',
    expected: `at most ${formatBytes(bytes)}`,
    hint: 'see in the last lines what prints so much, or raise `limits: { console: … }`.',
  })
}

function resetLoop(count: number): VMError {
  return vmError('GUEST_REBOOT_LOOP', {
    summary: `The guest has reset itself ${count} times in a row: it was stopped.`,
    hint: 'see on the serial console what happens before each reset; one that a test means is asked for by `vm.reboot()`.',
  })
}
