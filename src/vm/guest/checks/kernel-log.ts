import { matchText } from '../../../common/match-text.js'
import { type ErrorDetails, vmError } from '../../../errors.js'
import type { Check, CheckOutcome, LongPoll } from './check.js'
import { runScript, type ScriptResult } from './guest-script.js'
import {
  formatMessage,
  formatMessages,
  isAtLeast,
  LOG_LEVELS,
  type LogMark,
  type LogMessage,
  type LogReading,
  MAX_MESSAGES,
  parseReading,
  READ_BOOT,
  READ_KERNEL_LOG,
  requireLevel,
  requireMark,
} from './log-messages.js'

/** Levels down to which a log without errors makes sense. */
export const PROBLEM_LEVELS = LOG_LEVELS.slice(0, 5)
/** Level of a problem: `emerg`, `alert`, `crit`, `err` or `warning`. */
export type ProblemLevel = 'emerg' | 'alert' | 'crit' | 'err' | 'warning'

/** Messages that a clean kernel log must not contain. */
export interface KernelLogExpectation {
  /** Minimum severity of the messages that count. @default 'err' */
  readonly level?: ProblemLevel | undefined
  /** Mark after which messages count, see `vm.markLogs()`. @default the boot */
  readonly since?: LogMark | undefined
  /** Text or patterns of messages that are accepted. */
  readonly allow?: readonly (string | RegExp)[] | undefined
}

/**
 * Messages that report a defect of the kernel or a lack of resources, although some of their lines
 * have the level `warning` or `info`: oopses, `BUG()`, `WARN()`, lockdep, stalls, hung tasks, OOM
 * kills, sanitizers. Repetitions are bounded: a guest prints lines of any length.
 */
const PROBLEMS = new RegExp(
  [
    String.raw`\bBUG: |\bkernel BUG at |\bOops: |\bInternal error: |\b[0-9a-f]{4} \[#\d{1,4}\]`,
    String.raw`\bWARNING: (?:CPU: \d|\S{1,200}:\d+ at |possible |suspicious |inconsistent |bad unlock|held lock|lock held)`,
    String.raw`\bblocked for more than \d+ seconds|\bdetected (?:expedited )?stalls?\b|\bself-detected stall\b`,
    String.raw`\binvoked oom-killer: |\boom-kill:|\bOut of memory: |\bout of memory: Killed|\bpage allocation failure: `,
    String.raw`\bUBSAN: |\bKCSAN: |\bkmemleak: \d+ new suspected`,
  ].join('|'),
)

/** Messages of programs that may not read a log. */
const DENIED = /permitted|denied|not found|insufficient permissions|password is required/i
const SHOWN_MESSAGES = 20
const SHOWN_CONTEXT = 40
/** Difference between the clock of the kernel log and that of the uptime, in seconds. */
const CLOCK_TOLERANCE_S = 1
/** Time for the log to be read after an oops on the console, in milliseconds. */
const LOSS_GRACE_MS = 2500

/**
 * Met if the kernel log (`dmesg`) has no messages of the level `err` or worse, and reports no oops,
 * `BUG`, `WARNING`, stall, hung task or OOM kill at any level. Can no longer be met after such a
 * message, because it stays in the log.
 * @example checks.kernelLogIsClean({ since, allow: [/link is not ready/] })
 */
export function kernelLogIsClean(expectation: KernelLogExpectation = {}): Check {
  const { level = 'err', since } = expectation
  requireLevel(level, PROBLEM_LEVELS)
  requireMark(since)
  const script = `log=kernel; ${READ_BOOT}\n${READ_KERNEL_LOG}`
  const ofTime = since === undefined ? '' : ' after the mark'
  return {
    expected: `the kernel log to contain no messages of level ${level} or worse, and no oops, warning, hung task or OOM kill${ofTime}`,
    lossGraceMs: LOSS_GRACE_MS,
    run: async (vm, signal, longPoll) => {
      const result = await runScript(vm, script, signal)
      if (result.exitCode !== 0) return describeReadFailure('kernel log', result, longPoll)
      return readKernelLog(parseReading(result.stdout), expectation)
    },
  }
}

/** Evaluates a kernel log. */
export function readKernelLog(reading: LogReading, expectation: KernelLogExpectation): CheckOutcome {
  const { level = 'err', since, allow = [] } = expectation
  const messages = sinceMark(reading, since)
  const bad = messages.filter(
    ({ message, level: own }) =>
      (isAtLeast(own, level) || PROBLEMS.test(message)) &&
      !allow.some((pattern) => matchText(message, pattern)),
  )
  const [first] = bad
  if (first === undefined) return { isMet: true, received: 'no such messages' }
  const context = messages.slice(messages.indexOf(first)).slice(0, SHOWN_CONTEXT)
  return {
    isMet: false,
    received: formatMessages(bad, SHOWN_MESSAGES),
    never: `the kernel log has ${bad.length} such ${bad.length === 1 ? 'message' : 'messages'}`,
    evidence:
      context.length > bad.length
        ? [
            {
              label: 'Kernel log, from the first such message',
              text: context.map(formatMessage).join('\n'),
            },
          ]
        : [],
  }
}

/**
 * Returns the messages of a kernel log after a mark.
 * @throws {GuestError} WAIT_FAILED when it is unknown which messages follow the mark.
 */
export function sinceMark(
  { bootId, uptime, messages }: LogReading,
  since: LogMark | undefined,
): readonly LogMessage[] {
  if (messages.length === MAX_MESSAGES) {
    throw unknownLogError({
      log: 'kernel log',
      got: `${MAX_MESSAGES} messages or more`,
      hint: 'Clear the log in the guest: `dmesg --clear`.',
    })
  }
  if (since === undefined || since.bootId !== bootId) return messages
  if (uptime + CLOCK_TOLERANCE_S < since.kernelSeconds) {
    throw unknownLogError({
      log: 'kernel log',
      got: `a guest that was restored to ${uptime} s after its boot, before the mark`,
      hint: 'Call `vm.markLogs()` again after `vm.restore()`.',
    })
  }
  if (messages.some(({ seconds }) => Number.isNaN(seconds))) {
    throw unknownLogError({
      log: 'kernel log',
      got: 'messages without times',
      hint: 'Remove `printk.time=0` from the kernel arguments: `since` and `within` compare times.',
    })
  }
  return messages.filter(({ seconds }) => seconds > since.kernelSeconds)
}

/**
 * Returns the outcome of a log that could not be read this time.
 * @throws {GuestError} WAIT_FAILED when the log cannot be read at all, so that not even the negated
 *   check passes.
 */
export function describeReadFailure(
  log: LogReading['log'],
  { stderr, exitCode }: Pick<ScriptResult, 'stderr' | 'exitCode'>,
  longPoll?: LongPoll,
): CheckOutcome<never> {
  const received = stderr.trim() || `exit code ${exitCode}`
  if (exitCode !== 127 && !DENIED.test(received)) return { isMet: longPoll?.until === false, received }
  const isMissing = exitCode === 127 || /not found/i.test(received)
  throw unknownLogError({
    log,
    got: received,
    hint: isMissing
      ? `Use an image with ${log === 'journal' ? 'systemd' : '`dmesg`'}.`
      : 'Log in as root, or allow this user `sudo` without a password.',
  })
}

/** Builds the error of a log whose messages are unknown. */
export function unknownLogError({
  log,
  got,
  hint,
}: { readonly log: LogReading['log'] } & Pick<ErrorDetails, 'got' | 'hint'>): Error {
  return vmError('WAIT_FAILED', { summary: `The ${log} of the guest cannot be checked.`, got, hint })
}
