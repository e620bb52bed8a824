import { formatDuration } from '../../common/duration.js'
import type { BoundWait } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'
import type { SerialLog } from './serial-log.js'

const EVIDENCE_LINES = 30

export function patternTimeout(
  log: SerialLog,
  logPath: string | undefined,
  pattern: string | RegExp,
  { timeoutMs, hint }: BoundWait,
): Error {
  const { silentMs } = log
  return vmError('SERIAL_TIMEOUT', {
    summary: `the serial console did not show a pattern within ${formatDuration(timeoutMs)}`,
    expected: typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern),
    got:
      silentMs === undefined
        ? 'not one byte'
        : `${log.raw.end} characters, the last of them ${formatDuration(silentMs)} ago`,
    evidence: [
      { label: 'Last lines of the serial console', text: log.tail(EVIDENCE_LINES).join('\n') },
      { label: 'Whole log', text: logPath ?? '' },
    ],
    hint: hint ?? hintFor(silentMs, timeoutMs),
  })
}

function hintFor(silentMs: number | undefined, timeoutMs: number): string {
  if (silentMs === undefined)
    return 'Let the guest write to its serial port (kernel command line: console=ttyS0).'
  if (silentMs < Math.min(2000, timeoutMs / 2)) return 'The guest is still writing: give it more time.'
  return 'The guest has fallen silent: see the last lines, and compare the pattern with them.'
}

export function notConnected(cause?: unknown): Error {
  return vmError('VM_NOT_RUNNING', {
    summary: 'the serial console is not connected',
    hint: 'Use the console while the guest is switched on.',
    cause,
  })
}

export function unusable(method: string, name: string, got: unknown, expected: string): Error {
  return vmError('INVALID_OPTIONS', {
    summary: `${method}() got a ${name} that it cannot use`,
    expected,
    got: JSON.stringify(got) ?? String(got),
    hint: `Give ${expected}.`,
  })
}
