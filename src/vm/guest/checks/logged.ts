import { type Duration, formatDuration } from '../../../common/duration.js'
import { quoteWord } from '../../../common/process/shell-quote.js'
import { resolveDuration } from '../../../common/resolve-duration.js'
import type { Check, CheckOutcome } from './check.js'
import { formatText } from './format-text.js'
import { runScript } from './guest-script.js'
import { describeReadFailure, sinceMark, unknownLogError } from './kernel-log.js'
import {
  FIND_JOURNAL_ACCESS,
  formatMessage,
  formatMessages,
  isAtLeast,
  JOURNAL_FORMAT,
  type LogLevel,
  type LogMark,
  type LogMessage,
  type LogReading,
  matchesMessage,
  parseReading,
  READ_BOOT,
  READ_KERNEL_LOG,
  requireLevel,
  requireMark,
} from './log-messages.js'

/** Messages that a log must contain. */
export interface LogExpectation {
  /** systemd unit that logged the message. @default any, and the kernel */
  readonly unit?: string | undefined
  /** Minimum severity of the message. @default 'debug': any */
  readonly level?: LogLevel | undefined
  /** Mark after which messages count, see `vm.markLogs()`. @default the boot */
  readonly since?: LogMark | undefined
  /**
   * Age of the oldest message that counts when the check runs first, by the clock of the guest.
   * @default no limit
   */
  readonly within?: Duration | undefined
}

const SHOWN_MESSAGES = 20
/** Time for a message about an oops to be read from the log, in milliseconds. */
const LOSS_GRACE_MS = 2500

/** Messages that were read by earlier runs of a check: each run reads only new ones. */
interface Progress {
  readonly bootId: string
  readonly uptime: number
  readonly cursor: string | undefined
  readonly count: number
  readonly latest: readonly LogMessage[]
}

/**
 * Met if the guest has logged a message that contains a string or matches a pattern: in the journal
 * of this boot, which contains the messages of the kernel, or without systemd in the kernel log.
 * @example checks.hasLogged(/Accepted publickey/, { unit: 'ssh', since })
 */
export function hasLogged(pattern: string | RegExp, expectation: LogExpectation = {}): Check<LogMessage> {
  const { unit, level = 'debug', since } = expectation
  requireLevel(level)
  requireMark(since)
  const withinMs = resolveDuration('within', expectation.within)
  let before: Progress | undefined
  let oldest: { readonly bootId: string; readonly seconds: number } | undefined
  return {
    expected: `${unit === undefined ? 'the guest' : `the unit ${unit}`} to have logged ${formatText(pattern)}${describeLimits(expectation, withinMs)}`,
    staysMet: true,
    lossGraceMs: LOSS_GRACE_MS,
    run: async (vm, signal, longPoll) => {
      const from = before ?? since
      const cursor = before?.cursor ?? since?.journalCursor
      const script = buildScript({ unit, level, bootId: from?.bootId, cursor })
      const result = await runScript(vm, script, signal)
      const reading = parseReading(result.stdout, cursor)
      const { bootId, uptime, log } = reading
      if (result.exitCode !== 0) return describeReadFailure(log, result, longPoll)
      if (log !== 'journal' && unit !== undefined) {
        const hint = 'Use an image with systemd, whose journal records the units of messages.'
        throw unknownLogError({ log: 'journal', got: 'a guest without `journalctl`', hint })
      }
      if (withinMs !== undefined) oldest ??= { bootId, seconds: uptime - withinMs / 1000 }
      const after = log === 'journal' ? reading.messages : sinceMark(reading, since)
      const messages = after.filter(
        (message) =>
          isAtLeast(message.level, level) && (oldest?.bootId !== bootId || message.seconds >= oldest.seconds),
      )
      const found = messages.find((message) => matchesMessage(message, pattern))
      if (found !== undefined) return { isMet: true, received: formatMessage(found), value: found }
      before = addReading(before, reading, messages)
      return describeProgress(before, log)
    },
  }
}

interface Query {
  readonly unit: string | undefined
  readonly level: LogLevel
  /** Boot to which the cursor belongs. */
  readonly bootId: string | undefined
  readonly cursor: string | undefined
}

/** Prints the journal if there is one, else the kernel log. */
function buildScript({ unit, level, bootId, cursor }: Query): string {
  const options = [
    JOURNAL_FORMAT,
    ...(level === 'debug' ? [] : [`-p ${level}`]),
    ...(unit === undefined ? [] : [`-u ${quoteWord(unit)}`]),
  ].join(' ')
  const isAfter = bootId !== undefined && cursor !== undefined
  const journal = [
    FIND_JOURNAL_ACCESS,
    `log=journal; ${READ_BOOT}`,
    ...(isAfter
      ? [`[ "$b" = ${quoteWord(bootId)} ] && exec $as journalctl ${options} --cursor=${quoteWord(cursor)}`]
      : []),
    `exec $as journalctl ${options}`,
  ]
  return [
    'if command -v journalctl >/dev/null 2>&1; then',
    ...journal,
    'fi',
    `log=kernel; ${READ_BOOT}`,
    READ_KERNEL_LOG,
  ].join('\n')
}

/** Adds a reading to the messages read before. After a reboot or a restore, it replaces them. */
function addReading(
  before: Progress | undefined,
  { bootId, uptime, log, cursor }: LogReading,
  messages: readonly LogMessage[],
): Progress {
  const isContinued =
    log === 'journal' && before !== undefined && before.bootId === bootId && before.uptime <= uptime
  const earlier = isContinued ? before : undefined
  return {
    bootId,
    uptime,
    cursor: cursor ?? earlier?.cursor,
    count: (earlier?.count ?? 0) + messages.length,
    latest: [...(earlier?.latest ?? []), ...messages].slice(-SHOWN_MESSAGES),
  }
}

function describeProgress({ count, latest }: Progress, log: LogReading['log']): CheckOutcome<never> {
  const last = latest.at(-1)
  const received =
    last === undefined ? 'no messages' : `none of ${count} messages; the last is: ${formatMessage(last)}`
  const label = log === 'journal' ? 'Journal, last messages' : 'Kernel log, last messages'
  const evidence = last === undefined ? [] : [{ label, text: formatMessages(latest, SHOWN_MESSAGES) }]
  return { isMet: false, received, evidence }
}

function describeLimits({ level, since }: LogExpectation, withinMs: number | undefined): string {
  return [
    ...(level === undefined ? [] : [` at the level ${level} or worse`]),
    ...(since === undefined ? [] : [' after the mark']),
    ...(withinMs === undefined ? [] : [` in the last ${formatDuration(withinMs)} or later`]),
  ].join('')
}
