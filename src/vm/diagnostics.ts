import { formatDuration } from '../common/duration.js'
import { type Evidence, VMError } from '../errors.js'
import { describeExit } from '../qemu/start-failure.js'
import { commandLineByHand } from './command-line.js'
import type { Machine } from './machine.js'
import type { Session } from './session.js'

const SERIAL_LINES = 40

/** What a person wants to see of a guest that failed. */
export function collectEvidence(machine: Machine, session: Session | undefined): Evidence[] {
  const serial = machine.serial.tail(SERIAL_LINES).join('\n')
  const evidence: Evidence[] = []
  if (session !== undefined) evidence.push({ label: 'Guest', text: describeGuest(machine, session) })
  evidence.push({
    label: 'Serial console, last lines',
    text: serial || '(nothing was printed; a Linux guest prints with console=ttyS0 in its kernel arguments)',
  })
  const stderr = machine.process?.stderr ?? ''
  if (stderr !== '') evidence.push({ label: "QEMU's standard error", text: stderr.trimEnd() })
  evidence.push({ label: 'To start it by hand', text: commandLineByHand(machine) })
  return evidence
}

/** Which stages it came to and when, what runs it, and how QEMU ended. */
export function describeGuest(machine: Machine, session: Session): string {
  const { spec, host } = machine
  const { watch } = session
  const exit = session.process.exit
  const lines = [
    `${spec.name}: ${watch.isReady ? 'ready' : `in stage '${watch.stage}' for ${formatDuration(watch.inStageMs)}`}`,
    `stages: ${watch.timeline.map(({ stage, atMs }) => `${stage} ${formatDuration(atMs)}`).join(', ')}`,
    `accelerator: ${host.accelerator}${host.timeFactor > 1.05 ? `, times stretched ${host.timeFactor.toFixed(1)} x` : ''}`,
  ]
  if (exit !== undefined) lines.push(`QEMU ended with ${describeExit(exit)}`)
  return lines.join('\n')
}

/** Puts the evidence behind an error of ours; another's is given back as it is. */
export function addEvidence(error: unknown, machine: Machine, session: Session | undefined): unknown {
  return error instanceof VMError ? error.withEvidence(collectEvidence(machine, session)) : error
}
