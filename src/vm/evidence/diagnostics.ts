import { formatDuration } from '../../common/duration.js'
import { type Evidence, VMError, vmError } from '../../errors.js'
import { describeHostLoad } from '../../host/load.js'
import { describeNetboot } from '../../net/netboot-text.js'
import { describeExit } from '../../qemu/start-failure.js'
import { describeArch } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import type { BootClue } from '../watch/boot-clues.js'
import { formatManualCommand } from './manual-command.js'
import { findNetworkClue } from './network-clue.js'
import { Redaction } from './redaction.js'

const SERIAL_LINES = 40

/** Errors whose cause the guest itself reported. */
const REPORTED_BY_GUEST: ReadonlySet<string> = new Set([
  'CLOUD_INIT_FAILED',
  'KEY_NOT_INSTALLED',
  'LOGIN_FAILED',
])

/**
 * Collects the evidence of a failed guest. Keys and passwords are redacted, because errors are
 * printed.
 */
export function collectEvidence(machine: Machine, session: Session | undefined): Evidence[] {
  const { serial } = machine
  // The lines of a boot that succeeded do not explain a later failure.
  const lines = [serial.recent(SERIAL_LINES), serial.tail(SERIAL_LINES)].find(({ length }) => length > 0)
  const evidence: Evidence[] = []
  if (session !== undefined) evidence.push({ label: 'Guest', text: describeGuest(machine, session) })
  evidence.push({
    label: 'Serial console, last lines',
    text: lines?.join('\n') ?? describeEmptyConsole(machine.spec),
  })
  const { netboot } = machine.services
  if (netboot !== undefined) evidence.push({ label: 'Network boot', text: describeNetboot(netboot) })
  const stderr = machine.process?.stderr ?? ''
  if (stderr !== '') evidence.push({ label: "QEMU's stderr", text: stderr.trimEnd() })
  evidence.push({ label: 'To start the guest by hand', text: formatManualCommand(machine) })
  const redaction = new Redaction(machine)
  return evidence.map(({ label, text }) => ({ label, text: redaction.apply(text) }))
}

/**
 * Explains an empty serial console: with a display card, firmware and boot loaders do not print
 * there.
 */
function describeEmptyConsole({ arch, display }: Machine['spec']): string {
  const linux = `a Linux guest needs the kernel argument console=${describeArch(arch).console}`
  return display.vga === undefined
    ? `(nothing was printed; ${linux})`
    : `(nothing was printed: with a display card, firmware and boot loaders print on the display, see \`expect(vm).toShowText()\`; ${linux})`
}

/**
 * Formats the stages of a guest with their times, its accelerator, the host load and the exit of
 * QEMU.
 */
export function describeGuest(machine: Machine, session: Session): string {
  const { host } = machine
  const { watch } = session
  const exit = session.process.exit
  const lines = [
    `${machine.name}: ${watch.isReady ? 'ready' : `in stage '${watch.stage}' for ${formatDuration(watch.inStageMs)}`}, ${describeSilence(machine)}`,
    `stages: ${watch.timeline.map(({ stage, atMs }) => `${stage} ${formatDuration(atMs)}`).join(', ')}`,
    `accelerator: ${host.accelerator}${host.timeFactor > 1.05 ? `, timeouts multiplied by ${host.timeFactor.toFixed(1)}` : ''}`,
    `host: ${describeHostLoad()}`,
  ]
  if (exit !== undefined) lines.push(`QEMU ended with ${describeExit(exit)}`)
  return lines.join('\n')
}

function describeSilence({ serial: { silentMs } }: Machine): string {
  return silentMs === undefined
    ? 'no new console output'
    : `last console output ${formatDuration(silentMs)} ago`
}

/**
 * Adds evidence to an error of a start, and a more specific hint from the console or from the state
 * of the network, if there is one.
 */
export async function explainStart(error: unknown, machine: Machine, session: Session): Promise<unknown> {
  if (!(error instanceof VMError) || error.kind !== 'guest') return addEvidence(error, machine, session)
  const { netboot } = machine.services
  if (netboot !== undefined && error.code !== 'NETBOOT_FAILED') {
    const problem =
      netboot.spec.isFirst || session.watch.stage === 'firmware' ? netboot.findProblem() : undefined
    if (problem !== undefined) {
      const failure = vmError('NETBOOT_FAILED', {
        summary: `The guest '${machine.name}' did not boot from the network. ${problem.text}.`,
        got: error.details.summary,
        hint: problem.hint,
        cause: error,
      })
      return addEvidence(failure, machine, session)
    }
  }
  const { clue } = session.watch
  if (clue !== undefined && explains(clue, error)) {
    const isOfStage = error.code === 'BOOT_TIMEOUT' && clue.stage === session.watch.stage
    const hinted = isOfStage ? error.replaceHint(clue.hint) : error.withHint(clue.hint)
    const isNew = error.details.got?.includes(clue.line) !== true
    const evidence = isNew ? [{ label: 'Possible cause', text: clue.line }] : []
    return addEvidence(hinted.withEvidence(evidence), machine, session)
  }
  const networkHint = error.code === 'BOOT_TIMEOUT' ? await findNetworkClue(machine, session) : undefined
  return addEvidence(networkHint === undefined ? error : error.withHint(networkHint), machine, session)
}

/**
 * Returns true if a clue explains an error. A temporary problem explains a timeout, but not a
 * failure that the guest reports.
 */
function explains(clue: BootClue, { code }: VMError): boolean {
  const isNamed = code === 'GUEST_PANICKED' || code === 'GUEST_FAILED'
  return !REPORTED_BY_GUEST.has(code) && !(clue.isTemporary && isNamed)
}

/** Adds the evidence to a VMError; returns other errors unchanged. */
export function addEvidence(error: unknown, machine: Machine, session: Session | undefined): unknown {
  return error instanceof VMError ? error.withEvidence(collectEvidence(machine, session)) : error
}
