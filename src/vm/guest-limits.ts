import { type VMError, vmError } from '../errors.js'
import { diskFileNode } from '../qemu/argv/disks.js'
import { formatBytes } from '../spec/units.js'
import type { Machine } from './machine.js'
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

/** QEMU tells of the first write behind a limit of a disk's file, so that nobody has to look at its size. */
function watchDisks({ overlay, spec: { limits, disks } }: Machine, session: Session): void {
  const { qmp } = session
  const nodes = [0, ...disks.map((_, index) => index + 1)].map(diskFileNode)
  for (const node of overlay === undefined ? nodes.slice(1) : nodes) {
    const threshold = { 'node-name': node, 'write-threshold': limits.diskBytes }
    // Not waited for: commands are obeyed in their order. Where there is no such disk, nothing is written to it.
    qmp.execute('block-set-write-threshold', threshold).catch(() => {})
  }
  qmp.on('BLOCK_WRITE_THRESHOLD', ({ data }) => {
    if (nodes.some((node) => node === data['node-name'])) session.halt(diskLimit(limits.diskBytes))
  })
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
    summary: 'The guest has filled its disk beyond what it was given of this host: it was stopped.',
    expected: `at most ${formatBytes(bytes)} of what it changes, with its checkpoints`,
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
