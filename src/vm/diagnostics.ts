import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatDuration } from '../common/duration.js'
import { type Evidence, VMError } from '../errors.js'
import { describeExit } from '../qemu/start-failure.js'
import { commandLineByHand } from './command-line.js'
import type { Machine } from './machine.js'
import type { Session } from './session.js'
import { ensureFolder } from './workspace.js'

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

function describeGuest(machine: Machine, session: Session): string {
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

/**
 * Keeps the logs of a guest, since its own folder is removed: `serial.log`, `qemu.log`, `qmp.log`, `commands.log`
 * and `command-line.txt` in a folder of its name. Gives where.
 */
export async function keepLogs(machine: Machine, artifacts: string): Promise<string> {
  const folder = join(artifacts, `${machine.spec.name}-${machine.id}`)
  await ensureFolder(folder)
  await Promise.all([
    copyFile(machine.workspace.path('serial.log'), join(folder, 'serial.log')).catch(() => {}),
    writeFile(join(folder, 'qemu.log'), machine.process?.stderr ?? ''),
    writeFile(join(folder, 'qmp.log'), machine.transcripts.qmp.text),
    writeFile(join(folder, 'commands.log'), machine.transcripts.commands.text),
    writeFile(join(folder, 'command-line.txt'), `${commandLineByHand(machine)}\n`),
  ])
  return folder
}
