import { matchText } from '../../../common/match-text.js'
import { quoteWord } from '../../../common/process/shell-quote.js'
import type { Check, CheckOutcome } from './check.js'
import { runScript } from './guest-script.js'
import { describeReadFailure, PROBLEM_LEVELS, type ProblemLevel } from './kernel-log.js'
import {
  FIND_JOURNAL_ACCESS,
  formatMessage,
  JOURNAL_FORMAT,
  type LogMark,
  parseJournal,
  requireLevel,
  requireMark,
} from './log-messages.js'

const SHOWN_LINES = 20

/** Lines that a clean journal must not contain. */
export interface JournalExpectation {
  /** Minimum severity of the lines that count, as for `journalctl -p`. @default 'err' */
  readonly level?: ProblemLevel | undefined
  /** Unit whose lines are read. @default all lines of this boot */
  readonly unit?: string | undefined
  /** Mark after which lines count, see `vm.markLogs()`. @default the boot */
  readonly since?: LogMark | undefined
  /** Text or patterns of lines that are accepted. */
  readonly allow?: readonly (string | RegExp)[] | undefined
  /** @deprecated Use `level`. */
  readonly priority?: ProblemLevel | undefined
  /** @deprecated Use `allow`. */
  readonly ignore?: readonly RegExp[] | undefined
}

/**
 * Met if the journal of this boot contains no errors. Can no longer be met after an error, because
 * it stays in the journal.
 * @example checks.journalIsClean({ unit: 'nginx', allow: [/deprecated/] })
 */
export function journalIsClean(expectation: JournalExpectation = {}): Check {
  const { priority = 'err', level = priority, unit, since, allow = [], ignore = [] } = expectation
  requireLevel(level, PROBLEM_LEVELS)
  requireMark(since)
  const filter = `-p ${level}${unit === undefined ? '' : ` -u ${quoteWord(unit)}`}`
  const { bootId, journalCursor } = since ?? {}
  const script = [
    FIND_JOURNAL_ACCESS,
    ...(bootId === undefined || journalCursor === undefined
      ? []
      : [
          'read -r b </proc/sys/kernel/random/boot_id',
          `[ "$b" = ${quoteWord(bootId)} ] && echo json && exec $as journalctl ${JOURNAL_FORMAT} ${filter} --cursor=${quoteWord(journalCursor)}`,
        ]),
    `exec $as journalctl -b -q --no-pager -o short-iso ${filter}`,
  ].join('\n')
  return {
    expected: `the journal${unit === undefined ? '' : ` of ${unit}`} to contain no messages of level ${level} or worse${since === undefined ? '' : ' after the mark'}`,
    run: async (vm, signal, longPoll) => {
      const result = await runScript(vm, script, signal)
      if (result.exitCode !== 0) return describeReadFailure('journal', result, longPoll)
      const { stdout } = result
      const lines = /^json(\n|$)/.test(stdout)
        ? parseJournal(stdout, journalCursor).messages.map(formatMessage).join('\n')
        : stdout
      return readJournal(lines, [...allow, ...ignore])
    },
  }
}

export function readJournal(text: string, allow: readonly (string | RegExp)[]): CheckOutcome {
  const lines = text.split('\n').filter((line) => line !== '' && !/^-- .* --$/.test(line))
  const bad = lines.filter((line) => !allow.some((pattern) => matchText(line, pattern)))
  if (bad.length === 0) return { isMet: true, received: 'no such lines' }
  return {
    isMet: false,
    received: bad.slice(-SHOWN_LINES).join('\n'),
    never: `the journal has ${bad.length} such ${bad.length === 1 ? 'line' : 'lines'}`,
  }
}
