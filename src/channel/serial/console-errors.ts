import { formatDuration } from '../../common/duration.js'
import type { BoundWait } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'
import type { SerialLog } from './serial-log.js'

const EVIDENCE_LINES = 30

export function patternTimeout(
  log: SerialLog,
  pattern: string | RegExp,
  { timeoutMs, hint }: BoundWait,
): Error {
  const { silentMs } = log
  return vmError('SERIAL_TIMEOUT', {
    summary: `The serial console did not show the pattern within ${formatDuration(timeoutMs)}.`,
    expected: typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern),
    got: log.raw.end === 0 ? 'no output' : `${log.raw.end} characters, the last one ${describeAge(silentMs)}`,
    evidence: [{ label: 'Last lines of the serial console', text: log.tail(EVIDENCE_LINES).join('\n') }],
    hint: hint ?? hintFor(log, timeoutMs),
  })
}

/**
 * Describes the age of the last output. A clone has output of the guest that it was cloned from.
 */
export function describeAge(silentMs: number | undefined): string {
  return silentMs === undefined ? 'from before this guest was cloned' : `${formatDuration(silentMs)} ago`
}

function hintFor({ raw, silentMs = Number.POSITIVE_INFINITY }: SerialLog, timeoutMs: number): string {
  if (raw.end === 0) return 'Let the guest write to its serial port (kernel command line: console=ttyS0).'
  if (silentMs < Math.min(2000, timeoutMs / 2)) return 'Raise `timeout`: the guest is still printing.'
  return 'Compare the pattern with the last lines: the guest has stopped printing.'
}

export function consoleNotConnectedError(cause?: unknown): Error {
  return vmError('VM_NOT_RUNNING', {
    summary: 'The serial console is not connected.',
    hint: 'Use the console while the guest is running.',
    cause,
  })
}

export function invalidConsoleOptionError(
  method: string,
  name: string,
  got: unknown,
  expected: string,
): Error {
  return vmError('INVALID_OPTIONS', {
    summary: `${method}() does not accept this ${name}.`,
    expected,
    got: JSON.stringify(got) ?? String(got),
    hint: `Pass ${expected}.`,
  })
}
