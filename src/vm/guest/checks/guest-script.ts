import { quoteWord } from '../../../common/process/shell-quote.js'
import type { GuestHandle } from '../guest-handle.js'
import type { CheckOutcome, LongPoll } from './check.js'

/** Marks the processes of checks, so that a check for a process does not find another check. */
export const MARKER = 'withvm-check'
/** How long a script sleeps between two looks: the odd digits mark the process of `sleep`. Seconds. */
export const SLEEPS = { first: '0.1000137', later: '0.3000137' } as const
const QUICK_LOOKS = 20

export interface ScriptResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | undefined
}

/** Runs a script for POSIX shells by the guest's way for commands: SSH, or its agent. */
export async function runScript(vm: GuestHandle, script: string, signal: AbortSignal): Promise<ScriptResult> {
  const command = `exec /bin/sh -c ${quoteWord(`: ${MARKER}\n${script}`)}`
  const options = { reject: false, timeout: Number.POSITIVE_INFINITY, signal }
  return vm.commandChannel === 'ssh' ? vm.ssh(command, options) : vm.exec(command, options)
}

/** What is looked for in the guest: two pieces of shell. */
export interface GuestProbe {
  /** Ends with 0 when it is there. Run many times: builtin commands cost the guest least. */
  readonly look: string
  /** Prints what there is, once, after the last look. */
  readonly tell: string
}

/**
 * Looks in a loop that runs in the guest: one command over SSH waits there until the outcome is the one that
 * is waited for, or its time is up. By the guest's own clock, since it may be far off from ours.
 */
export async function runProbe(
  vm: GuestHandle,
  probe: GuestProbe,
  signal: AbortSignal,
  patience: LongPoll | undefined,
): Promise<CheckOutcome> {
  const { stdout, stderr, exitCode } = await runScript(vm, buildProbeScript(probe, patience), signal)
  const [verdict, ...rest] = stdout.split('\n')
  if (verdict !== 'met' && verdict !== 'unmet') {
    return { isMet: false, received: `a look that failed: ${stderr.trim() || `exit code ${exitCode}`}` }
  }
  return { isMet: verdict === 'met', received: rest.join('\n').trim() || '(nothing)' }
}

export function buildProbeScript({ look, tell }: GuestProbe, patience: LongPoll | undefined): string {
  const lines = [`look() { ${look}`, '}', 'once() { if look 2>/dev/null; then v=met; else v=unmet; fi; }']
  if (patience === undefined || patience.holdMs <= 0) lines.push('once')
  else {
    lines.push(
      // Hundredths of a second since the guest was started.
      `clock() { read -r t _ </proc/uptime; t=\${t%.*}\${t#*.}; }`,
      `clock; end=$((t + ${Math.ceil(patience.holdMs / 10)})); n=0`,
      'while :; do',
      '  once',
      `  [ $v = ${patience.until ? 'met' : 'unmet'} ] && break`,
      '  clock; [ $t -ge $end ] && break',
      '  n=$((n + 1))',
      `  if [ $n -le ${QUICK_LOOKS} ]; then s=${SLEEPS.first}; else s=${SLEEPS.later}; fi`,
      '  sleep $s 2>/dev/null || sleep 1',
      'done',
    )
  }
  lines.push('echo $v', `{ ${tell}`, '} 2>&1')
  return lines.join('\n')
}
