import { withDeadline } from '../../common/deadline.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import { matchText } from '../../common/match-text.js'
import { pollUntil } from '../../common/poll.js'
import type { BoundWait } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'
import type { ConsoleWaits } from './console-waits.js'
import type { SerialLog } from './serial-log.js'

/** Options of `vm.serial.login()`. */
export interface SerialLogin {
  /** Name of the user. */
  readonly user: string
  /** Password of the user. @default none: the user has no password */
  readonly password?: string | undefined
  /** Pattern of the last line when the shell waits for a command. @default /[#$%>] ?$/ */
  readonly prompt?: RegExp | undefined
  /** Maximum duration of the complete login. @default '60s' */
  readonly timeout?: Duration | undefined
  /** Aborts the login. */
  readonly signal?: AbortSignal | undefined
}

/** Parts of the console that a login uses. */
export interface LoginConsole {
  readonly log: SerialLog
  readonly waits: ConsoleWaits
  type(text: string): Promise<void>
  /** Shortens a wait so that it ends before its test. */
  bound(longestMs: number): BoundWait
}

/** Messages of the `login` of util-linux and busybox, and of PAM modules. */
const REFUSED =
  /login incorrect|authentication failure|permission denied|account [^\n]{0,80}(?:expired|locked)/i
const LOGIN_PROMPT = /\b(?:login|username): ?$/i
/** A prompt in any language. */
const ANY_PROMPT = /[:：] ?$/
/** Prompt for a password. Not anchored: kernel messages may follow. */
const PASSWORD_PROMPT = /password[^\n]{0,60}: ?/i
const SHELL_PROMPT = /[#$%>] ?$/
/**
 * Silence after which Enter is sent to get a new prompt: the old one may be above kernel messages.
 * Longer than the 3 s for which `login` is silent after a wrong password.
 */
const NUDGE_AFTER_MS = 5000
/**
 * Silence after which a line that may be a shell prompt, or a prompt in another language, is taken
 * as one.
 */
const SETTLED_MS = 1500
/** Command that identifies a shell: its output differs from the echo of the command. */
const SHELL_PROBE = 'echo withvm-"shell" `id -un`'
const SHELL_PROBE_OUTPUT = /^withvm-shell ([\w.-]+) *$/m
/** Silence after which an incomplete line is taken as a prompt: prompts have no line end. */
const PAUSE_MS = 150
/** Amount of the newest output that each poll searches: a guest may print megabytes. */
const SEEN_CHARS = 16_384
const LAST_LINE_CHARS = 4096
const POLL_MS = 50

/** Outcome of a login. */
export interface LoginOutcome {
  /** True if the user was already logged in. */
  readonly wasLoggedIn: boolean
}

/** Answers the prompts of `login`. See `SerialConsole.login()`. */
export async function logIn(console: LoginConsole, options: SerialLogin): Promise<LoginOutcome> {
  const longest = parseDuration(options.timeout ?? '60s')
  const { user, password, prompt = SHELL_PROMPT } = options
  if (longest === undefined || !isAnswer(user) || (password !== undefined && !isAnswer(password, 0)))
    throw invalidOptions(options)
  const startOffset = console.log.plain.end
  let waitingFor = 'a login prompt'
  const wait = console.bound(longest)
  const onTimeout = () => timedOut(console.log, waitingFor, wait)
  return withDeadline({ timeoutMs: wait.timeoutMs, signal: options.signal, onTimeout }, async (signal) => {
    const found = await findPrompt(console, prompt, signal)
    if (found.kind === 'shell') {
      if (found.user === user) return { wasLoggedIn: true }
      throw otherUserError(console.log, user, found.user)
    }
    waitingFor = password === undefined ? 'a shell prompt' : 'a password prompt'
    const isUser = password !== undefined
    let reply = await answerPrompt(console, user, { prompt, loginLine: found.line, isUser }, signal)
    if (reply === 'password' && password !== undefined) {
      waitingFor = 'a shell prompt'
      reply = await answerPrompt(console, password, { prompt, loginLine: found.line, isUser: false }, signal)
    }
    if (reply !== 'shell') throw loginFailedError(console.log, startOffset, user, reply)
    return { wasLoggedIn: false }
  })
}

function isAnswer(text: unknown, min = 1): boolean {
  return typeof text === 'string' && text.length >= min && !/[\r\n]/.test(text)
}

type Reply = 'shell' | 'password' | 'refused'

interface AnswerContext {
  readonly prompt: RegExp
  /** Line of the login prompt. */
  readonly loginLine: string
  /** True if the answer is the user's name and a password prompt is expected next. */
  readonly isUser: boolean
}

/**
 * Types an answer and returns the guest's reply. The user may have no password although one was
 * specified.
 */
async function answerPrompt(
  console: LoginConsole,
  text: string,
  { prompt, loginLine, isUser }: AnswerContext,
  signal: AbortSignal,
): Promise<Reply> {
  const from = console.log.plain.end
  await console.type(`${text}\n`)
  let nudgedAt = performance.now()
  return poll<Reply>(console, signal, async () => {
    const seenFrom = Math.max(from, console.log.plain.end - SEEN_CHARS)
    const since = console.log.plain.slice(seenFrom)
    // The output after the echo of the answer, or after the line end that `login` prints for a
    // hidden answer.
    const isEchoPast = seenFrom > from
    const printed = isEchoPast ? since : since.slice(since.indexOf('\n') + 1)
    if (REFUSED.test(printed)) return 'refused'
    const silentMs = silentMsOf(console.log)
    if ((isEchoPast || since.includes('\n')) && silentMs >= PAUSE_MS) {
      const last = printed.slice(printed.lastIndexOf('\n') + 1).slice(-LAST_LINE_CHARS)
      if (LOGIN_PROMPT.test(last) || last === loginLine) return 'refused'
      // Checked before the password prompt: the message of the day may mention passwords.
      if (last !== '' && matchText(last, prompt)) return 'shell'
      const isPrompt = silentMs >= SETTLED_MS && ANY_PROMPT.test(last)
      if (PASSWORD_PROMPT.test(printed) || (isUser && isPrompt)) return 'password'
    }
    if (!isUser && silentMs >= NUDGE_AFTER_MS && performance.now() - nudgedAt >= NUDGE_AFTER_MS) {
      nudgedAt = performance.now()
      await console.type('\n')
    }
    return undefined
  })
}

type FoundPrompt =
  | { readonly kind: 'login'; readonly line: string }
  | { readonly kind: 'shell'; readonly user: string }

/**
 * Waits until the guest pauses after a login prompt, and sends Enter if it is silent for long. A
 * prompt in any language that Enter repeats is taken as a login prompt. A shell is asked for its
 * user.
 */
async function findPrompt(console: LoginConsole, prompt: RegExp, signal: AbortSignal): Promise<FoundPrompt> {
  const { log } = console
  let nudgedAt = performance.now() - silentMsOf(log)
  let nudged: { readonly line: string; readonly from: number } | undefined
  let askedAt = -1
  return poll<FoundPrompt>(console, signal, async () => {
    const silentMs = silentMsOf(log)
    const line = log.lineAt(log.plain.end)
    if (silentMs >= PAUSE_MS && LOGIN_PROMPT.test(line)) return { kind: 'login', line }
    if (silentMs >= SETTLED_MS) {
      const user =
        askedAt < 0
          ? undefined
          : SHELL_PROBE_OUTPUT.exec(log.plain.slice(Math.max(askedAt, log.plain.end - SEEN_CHARS)))?.[1]
      if (user !== undefined) return { kind: 'shell', user }
      const isRepeated = nudged?.line === line && log.plain.end > nudged.from
      if (isRepeated && ANY_PROMPT.test(line)) return { kind: 'login', line }
      if (askedAt < 0 && line.trim() !== '' && matchText(line, prompt)) {
        askedAt = log.plain.end
        nudgedAt = performance.now()
        await console.type(`${SHELL_PROBE}\n`)
      }
    }
    if (silentMs >= NUDGE_AFTER_MS && performance.now() - nudgedAt >= NUDGE_AFTER_MS) {
      nudgedAt = performance.now()
      nudged = { line, from: log.plain.end }
      await console.type('\n')
    }
    return undefined
  })
}

/** Polls the console until `check` returns a value. Throws if the guest has ended. */
function poll<T>(
  { waits }: LoginConsole,
  signal: AbortSignal,
  check: () => Promise<T | undefined>,
): Promise<T> {
  const checkOnce = async () => {
    const found = await check()
    if (found === undefined && waits.interruption !== undefined) throw waits.interruption
    return found
  }
  return pollUntil(checkOnce, { intervalMs: POLL_MS, signal })
}

function loginFailedError(log: SerialLog, startOffset: number, user: string, reply: Reply): Error {
  const needsPassword = reply === 'password'
  return vmError('LOGIN_FAILED', {
    summary: `The login of ${JSON.stringify(user)} on the serial console failed.`,
    got: needsPassword ? 'a prompt for a password that was not specified' : 'a rejected login',
    evidence: [
      {
        label: 'Serial console since the login started',
        text: log.plain.slice(startOffset).trim().slice(-2000),
      },
    ],
    hint: needsPassword
      ? 'Specify `password`. If it is specified, the guest may require a password change before the first login.'
      : 'Check user and password. `login` also rejects root on a terminal that is not listed in /etc/securetty.',
  })
}

function otherUserError(log: SerialLog, user: string, found: string): Error {
  return vmError('LOGIN_FAILED', {
    summary: `The login of ${JSON.stringify(user)} on the serial console failed: another user is logged in.`,
    got: `a shell of ${JSON.stringify(found)}`,
    evidence: [{ label: 'Last lines of the serial console', text: log.tail(30).join('\n') }],
    hint: `Log in as \`user: '${found}'\`, or end that shell first.`,
  })
}

function timedOut(log: SerialLog, waitingFor: string, { timeoutMs, hint }: BoundWait): Error {
  const lastLine = log.lineAt(log.plain.end)
  return vmError('SERIAL_TIMEOUT', {
    summary: `serial.login() timed out after ${formatDuration(timeoutMs)}.`,
    expected: waitingFor,
    got: JSON.stringify(lastLine),
    evidence: [{ label: 'Last lines of the serial console', text: log.tail(30).join('\n') }],
    hint:
      hint ??
      'Run a getty on the serial port of the guest, or set `prompt` if the shell has an unusual prompt.',
  })
}

function invalidOptions({ user, timeout = '60s' }: SerialLogin): Error {
  return vmError('INVALID_OPTIONS', {
    summary: 'serial.login() does not accept these options.',
    expected: "a user and a password of one line each, and a timeout such as '60s'",
    got: `user ${JSON.stringify(user)}, timeout ${JSON.stringify(timeout)}`,
    hint: "Call it as in serial.login({ user: 'root', password: 'secret' }).",
  })
}

/** Returns the time without output, in milliseconds. The output of a clone may be older than it. */
function silentMsOf({ silentMs, raw }: SerialLog): number {
  return silentMs ?? (raw.end === 0 ? 0 : Number.POSITIVE_INFINITY)
}
