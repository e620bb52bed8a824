import { matchText } from '../../../common/match-text.js'
import { nearestName } from '../../../common/nearest-name.js'
import { vmError } from '../../../errors.js'

/** Levels of the kernel log and of the journal, most severe first: the index is the number. */
export const LOG_LEVELS = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const

/** Level of a message, as named by `journalctl -p`. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Message of the kernel log or of the journal. */
export interface LogMessage {
  /** Text of the message. */
  readonly message: string
  /** Severity of the message. */
  readonly level: LogLevel
  /** Time since the guest's boot, in seconds. */
  readonly seconds: number
  /** Program, with its process id if known, such as `sshd[213]`. `kernel` for the kernel. */
  readonly source: string
}

/** Position in the logs of a guest, as returned by `vm.markLogs()`. */
export interface LogMark {
  /** Boot of the guest: after a reboot, all messages follow the mark. */
  readonly bootId: string
  /** Time of the latest kernel message, seconds since the boot. */
  readonly kernelSeconds: number
  /** Latest entry of the journal. Undefined if the guest has none. */
  readonly journalCursor?: string | undefined
}

/** Log as read from a guest at one moment. */
export interface LogReading {
  readonly bootId: string
  /** Time since the boot, in seconds. */
  readonly uptime: number
  /** Log that was read: only guests with systemd have a journal. */
  readonly log: 'journal' | 'kernel log'
  readonly messages: readonly LogMessage[]
  /** Latest entry of the journal. */
  readonly cursor: string | undefined
}

const MAX_CURSOR_CHARS = 1000
/** Maximum number of messages of one reading: each line of a guest may be one. */
export const MAX_MESSAGES = 100_000

/** Shell script that prints the first line of a reading. `$b` is then the boot. */
export const READ_BOOT =
  'read -r b </proc/sys/kernel/random/boot_id && read -r u _ </proc/uptime && echo "$b $u $log"'

/**
 * Shell script that prints the kernel log in the format of syslog(2), and exits. Users other than
 * root often need sudo.
 */
export const READ_KERNEL_LOG = [
  'exec 3>&1',
  'problem=$(dmesg -r 2>&1 >&3) && exit 0',
  'sudo -n dmesg -r 2>/dev/null && exit 0',
  'echo "$problem" >&2; exit 1',
].join('\n')

/**
 * Shell script that waits until the journal has a folder for this machine, and sets `$as` to the
 * command with which this user can read the whole journal. In a clone, the folder has the name of
 * the template for about a second, and journalctl would find no messages.
 */
export const FIND_JOURNAL_ACCESS = [
  'i=; read -r i </etc/machine-id; n=0',
  'is_moving() { [ -d "/var/log/journal/$i" ] || [ -d "/run/log/journal/$i" ] && return 1; for d in /var/log/journal/*/; do [ -d "$d" ] && return 0; done; return 1; }',
  'while is_moving && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done',
  "as=; [ -w /dev/kmsg ] || case \" $(id -nG) \" in *' adm '* | *' systemd-journal '* | *' wheel '*) ;; *) as='sudo -n' ;; esac",
].join('\n')

/** Parses the output of {@link READ_BOOT}, followed by the log. */
export function parseReading(text: string, after?: string): LogReading {
  const end = text.indexOf('\n')
  const [bootId = '', uptime, log] = text.slice(0, end === -1 ? text.length : end).split(' ')
  const rest = end === -1 ? '' : text.slice(end + 1)
  const head = { bootId, uptime: Number(uptime), cursor: undefined }
  if (log !== 'journal') return { ...head, log: 'kernel log', messages: parseKernelLog(rest) }
  return { ...head, log, ...parseJournal(rest, after) }
}

/** Parses the output of `dmesg -r`. Lines without a level continue the message before. */
export function parseKernelLog(text: string): LogMessage[] {
  const messages: Array<{ -readonly [Key in keyof LogMessage]: LogMessage[Key] }> = []
  for (const line of linesOf(text)) {
    if (messages.length === MAX_MESSAGES) break
    const match = /^<(\d{1,4})>(?:\[ *(\d+\.\d+)\](?:\[ *[TC]\d+\])? ?)?(.*?)\r?$/s.exec(line)
    const last = messages.at(-1)
    if (match === null) {
      if (last !== undefined && line !== '') last.message += `\n${line}`
      continue
    }
    const [, priority, seconds, message = ''] = match
    messages.push({
      message,
      level: levelOf(Number(priority)),
      seconds: seconds === undefined ? Number.NaN : Number(seconds),
      source: 'kernel',
    })
  }
  return messages
}

/** Options of journalctl for output that {@link parseJournal} can read. */
export const JOURNAL_FORMAT =
  '-b -q -a --no-pager -o json --output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID'

/**
 * Parses the output of `journalctl -o json`.
 *
 * @param after cursor of an entry to leave out. With `--after-cursor` and a filter that this entry
 *   does not match, journalctl 252 also leaves out the next one, so `--cursor` is used.
 */
export function parseJournal(text: string, after?: string): Pick<LogReading, 'messages' | 'cursor'> {
  const messages: LogMessage[] = []
  let cursor: string | undefined
  for (const line of linesOf(text)) {
    if (messages.length === MAX_MESSAGES) break
    const entry = parseEntry(line)
    if (entry === undefined) continue
    const { __CURSOR, __MONOTONIC_TIMESTAMP, MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, _PID } = entry
    if (after !== undefined && __CURSOR === after) continue
    if (typeof __CURSOR === 'string' && __CURSOR.length <= MAX_CURSOR_CHARS) cursor = __CURSOR
    const program = readField(SYSLOG_IDENTIFIER) || 'unknown'
    messages.push({
      message: readField(MESSAGE),
      level: levelOf(Number(readField(PRIORITY) || LOG_LEVELS.indexOf('info'))),
      seconds: Number(readField(__MONOTONIC_TIMESTAMP)) / 1e6,
      source: program !== 'kernel' && typeof _PID === 'string' ? `${program}[${_PID}]` : program,
    })
  }
  return { messages, cursor }
}

/** Yields the lines of a text, of which a list may take a hundred times the memory. */
function* linesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf('\n', start)
    yield text.slice(start, end === -1 ? text.length : end)
    if (end === -1) return
    start = end + 1
  }
}

function parseEntry(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}

/**
 * Returns the text of a field. journalctl prints a list of bytes if it is not UTF-8, and a list of
 * values if the entry has several; the last of them is returned.
 */
function readField(value: unknown): string {
  const last = Array.isArray(value) && typeof value[0] !== 'number' ? value.at(-1) : value
  if (typeof last === 'string') return last
  return Array.isArray(last) ? Buffer.from(last).toString() : ''
}

function levelOf(priority: number): LogLevel {
  return LOG_LEVELS[priority & 7] as LogLevel
}

/**
 * Returns true if a message contains a string or matches a pattern, without or with the name of its
 * source: the journal takes the name of a program out of messages that it writes to `/dev/kmsg`.
 */
export function matchesMessage({ message, source }: LogMessage, pattern: string | RegExp): boolean {
  return matchText(message, pattern) || matchText(`${source}: ${message}`, pattern)
}

/** Returns true if a level is at least as severe as another. */
export function isAtLeast(level: LogLevel, limit: LogLevel): boolean {
  return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(limit)
}

/** Formats a message as one line: `[   12.345678] err sshd[213]: Connection closed`. */
export function formatMessage({ seconds, level, source, message }: LogMessage): string {
  const time = Number.isNaN(seconds) ? '' : `[${seconds.toFixed(6).padStart(12)}] `
  return `${time}${level}${source === 'kernel' ? '' : ` ${source}`}: ${message}`
}

/** Returns the first and the last messages, one per line. */
export function formatMessages(messages: readonly LogMessage[], maxLines: number): string {
  if (messages.length <= maxLines) return messages.map(formatMessage).join('\n')
  const half = Math.floor(maxLines / 2)
  return [
    ...messages.slice(0, half).map(formatMessage),
    `… (${messages.length - 2 * half} more)`,
    ...messages.slice(-half).map(formatMessage),
  ].join('\n')
}

/** @throws {UsageError} INVALID_OPTIONS when the level does not exist. */
export function requireLevel(level: unknown, known: readonly string[] = LOG_LEVELS): void {
  if (known.includes(level as string)) return
  const text = String(level)
  const near = nearestName(text, known) ?? known.find((name) => text.startsWith(name))
  throw vmError('INVALID_OPTIONS', {
    summary: 'The `level` of a log check is invalid.',
    expected: `one of ${known.map((name) => `'${name}'`).join(', ')}`,
    got: JSON.stringify(level) ?? String(level),
    hint: near === undefined ? 'Correct `level`.' : `Use '${near}'.`,
  })
}

/** @throws {UsageError} INVALID_OPTIONS when `since` is not a mark. */
export function requireMark(since: unknown): void {
  const { bootId, kernelSeconds } = (since ?? {}) as Partial<LogMark>
  if (since === undefined || (typeof bootId === 'string' && typeof kernelSeconds === 'number')) return
  throw vmError('INVALID_OPTIONS', {
    summary: 'The `since` of a log check is invalid.',
    expected: 'a mark of `vm.markLogs()`',
    got: since instanceof Promise ? 'a promise' : (JSON.stringify(since) ?? String(since)),
    hint: 'Write `const since = await vm.markLogs()` before the part of the test that is checked.',
  })
}
