import { quoteWord } from '../../../common/process/shell-quote.js'
import type { GuestHandle } from '../guest-handle.js'
import type { CheckOutcome, LongPoll } from './check.js'

/** Marks the processes of checks, so that a process check does not find another check. */
export const MARKER = 'withvm-check'
/**
 * Pauses between two probes of a script, in seconds. The unusual digits identify the `sleep`
 * process as withvm's.
 */
export const SLEEPS = { first: '0.1000137', later: '0.3000137' } as const
const FAST_POLLS = 20

export interface ScriptResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | undefined
}

/** Returns the command that runs a POSIX shell script, whichever shell the user has. */
export function wrapScript(script: string): string {
  return `exec /bin/sh -c ${quoteWord(`: ${MARKER}\n${script}`)}`
}

/** Runs a POSIX shell script in the guest over SSH or through its agent. */
export async function runScript(vm: GuestHandle, script: string, signal: AbortSignal): Promise<ScriptResult> {
  const command = wrapScript(script)
  const options = { reject: false, timeout: Number.POSITIVE_INFINITY, signal }
  return vm.commandChannel === 'ssh' ? vm.ssh(command, options) : vm.exec(command, options)
}

/** Condition in the guest, as two fragments of shell script. */
export interface GuestProbe {
  /** Exits with 0 if the condition is met. Runs many times, so prefer shell builtins. */
  readonly condition: string
  /** Prints the observed value. Runs once, after the last probe. */
  readonly report: string
}

/**
 * Polls a condition in a loop inside the guest: one command over SSH waits until the expected
 * outcome or `holdMs`. The loop uses the guest's clock, which may run faster or slower than the
 * host's.
 */
export async function runProbe(
  vm: GuestHandle,
  probe: GuestProbe,
  signal: AbortSignal,
  longPoll: LongPoll | undefined,
): Promise<CheckOutcome> {
  const { stdout, stderr, exitCode } = await runScript(vm, buildProbeScript(probe, longPoll), signal)
  const [verdict, ...rest] = stdout.split('\n')
  if (verdict !== 'met' && verdict !== 'unmet') {
    return { isMet: false, received: `the probe failed: ${stderr.trim() || `exit code ${exitCode}`}` }
  }
  return { isMet: verdict === 'met', received: rest.join('\n').trim() || '(nothing)' }
}

export function buildProbeScript({ condition, report }: GuestProbe, longPoll: LongPoll | undefined): string {
  const lines = [
    `condition() { ${condition}`,
    '}',
    'once() { if condition 2>/dev/null; then v=met; else v=unmet; fi; }',
  ]
  if (longPoll === undefined || longPoll.holdMs <= 0) lines.push('once')
  else {
    lines.push(
      // Hundredths of a second since the guest's boot.
      `clock() { read -r t _ </proc/uptime; t=\${t%.*}\${t#*.}; }`,
      `clock; end=$((t + ${Math.ceil(longPoll.holdMs / 10)})); n=0`,
      'while :; do',
      '  once',
      `  [ $v = ${longPoll.until ? 'met' : 'unmet'} ] && break`,
      '  clock; [ $t -ge $end ] && break',
      '  n=$((n + 1))',
      `  if [ $n -le ${FAST_POLLS} ]; then s=${SLEEPS.first}; else s=${SLEEPS.later}; fi`,
      '  sleep $s 2>/dev/null || sleep 1',
      'done',
    )
  }
  lines.push('echo $v', `{ ${report}`, '} 2>&1')
  return lines.join('\n')
}
