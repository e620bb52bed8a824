import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../../common/deadline.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import type { BoundWait } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'
import type { ConsoleWaits } from './console-waits.js'
import type { SerialLog } from './serial-log.js'

export interface SerialLogin {
  readonly user: string
  /** Left out for a user who has none. */
  readonly password?: string
  /** How the last line looks when the shell waits for a command. @default /[#$%>] ?$/ */
  readonly prompt?: RegExp
  /** For the whole login. @default '60s' */
  readonly timeout?: Duration
  readonly signal?: AbortSignal | undefined
}

/** What a login needs of its console. */
export interface LoginConsole {
  readonly log: SerialLog
  readonly waits: ConsoleWaits
  type(text: string): Promise<void>
  /** Ends a wait before its test. */
  bound(longestMs: number): BoundWait
}

/** What the `login` of util-linux and of busybox and PAM's modules say. */
const REFUSED =
  /login incorrect|authentication failure|permission denied|account [^\n]{0,80}(?:expired|locked)/i
const LOGIN_PROMPT = /\b(?:login|username): ?$/i
/** In whatever language. */
const ANY_QUESTION = /[:：] ?$/
/** Kernel messages may come behind it. */
const PASSWORD_PROMPT = /password[^\n]{0,60}: ?/i
const SHELL_PROMPT = /[#$%>] ?$/
/** What printed its prompt long ago, or under kernel messages, prints another at Enter. `login` itself is silent for 3 s after a wrong password. */
const NUDGE_AFTER_MS = 5000
/** A line that may be a shell's prompt, or a question in another language, is taken for one when nothing comes for this long. */
const SETTLED_MS = 1500
/** Tells a shell from all else that ends a line with such a sign: what is typed is not what it prints. */
const SHELL_QUESTION = 'echo withvm-"shell" `id -un`'
const SHELL_ANSWER = /^withvm-shell ([\w.-]+) *$/m
/** A prompt has no line end: it is what is still there after a pause. */
const PAUSE_MS = 150
/** Only this much of the newest output is looked at in each poll: a guest may print megabytes. */
const SEEN_CHARS = 16_384
const LAST_LINE_CHARS = 4096
const POLL_MS = 50

/** How a login ended. */
export interface LoginOutcome {
  /** Whether a shell of that user was there before, so that nobody had to log in. */
  readonly wasLoggedIn: boolean
}

/** Answers the prompts of `login`. See `SerialConsole.login()`. */
export async function logIn(console: LoginConsole, options: SerialLogin): Promise<LoginOutcome> {
  const longest = parseDuration(options.timeout ?? '60s')
  const { user, password, prompt = SHELL_PROMPT } = options
  if (longest === undefined || !isAnswer(user) || (password !== undefined && !isAnswer(password, 0)))
    throw unusable(options)
  const begun = console.log.plain.end
  let waitingFor = 'a login prompt'
  const wait = console.bound(longest)
  const onTimeout = () => timedOut(console.log, waitingFor, wait)
  return withDeadline({ timeoutMs: wait.timeoutMs, signal: options.signal, onTimeout }, async (signal) => {
    const found = await findPrompt(console, prompt, signal)
    if (found.kind === 'shell') {
      if (found.user === user) return { wasLoggedIn: true }
      throw otherUser(console.log, user, found.user)
    }
    waitingFor = password === undefined ? 'a shell prompt' : 'a password prompt'
    const isUser = password !== undefined
    let asked = await answer(console, user, { prompt, loginLine: found.line, isUser }, signal)
    if (asked === 'password' && password !== undefined) {
      waitingFor = 'a shell prompt'
      asked = await answer(console, password, { prompt, loginLine: found.line, isUser: false }, signal)
    }
    if (asked !== 'shell') throw refused(console.log, begun, user, asked)
    return { wasLoggedIn: false }
  })
}

function isAnswer(text: unknown, least = 1): boolean {
  return typeof text === 'string' && text.length >= least && !/[\r\n]/.test(text)
}

type Reply = 'shell' | 'password' | 'refused'

interface Asked {
  readonly prompt: RegExp
  /** The line that asked for the user. */
  readonly loginLine: string
  /** Whether the answer is the user's name, and a password is to be asked for. */
  readonly isUser: boolean
}

/** Types an answer and gives what comes of it. A user may have no password though one was given. */
async function answer(
  console: LoginConsole,
  text: string,
  { prompt, loginLine, isUser }: Asked,
  signal: AbortSignal,
): Promise<Reply> {
  const from = console.log.plain.end
  await console.type(`${text}\n`)
  let nudgedAt = performance.now()
  for (;;) {
    const seenFrom = Math.max(from, console.log.plain.end - SEEN_CHARS)
    const since = console.log.plain.slice(seenFrom)
    // The output after the echo of the answer, or after the line end that `login` prints for a hidden answer.
    const isEchoPast = seenFrom > from
    const printed = isEchoPast ? since : since.slice(since.indexOf('\n') + 1)
    if (REFUSED.test(printed)) return 'refused'
    const silentMs = console.log.silentMs ?? 0
    if ((isEchoPast || since.includes('\n')) && silentMs >= PAUSE_MS) {
      const last = printed.slice(printed.lastIndexOf('\n') + 1).slice(-LAST_LINE_CHARS)
      if (LOGIN_PROMPT.test(last) || last === loginLine) return 'refused'
      // Before the next: what greets a user may speak of passwords.
      if (last !== '' && matches(prompt, last)) return 'shell'
      const isQuestion = silentMs >= SETTLED_MS && ANY_QUESTION.test(last)
      if (PASSWORD_PROMPT.test(printed) || (isUser && isQuestion)) return 'password'
    }
    if (!isUser && silentMs >= NUDGE_AFTER_MS && performance.now() - nudgedAt >= NUDGE_AFTER_MS) {
      nudgedAt = performance.now()
      await console.type('\n')
    }
    await pause(console, signal)
  }
}

type FoundPrompt =
  | { readonly kind: 'login'; readonly line: string }
  | { readonly kind: 'shell'; readonly user: string }

/**
 * Waits until the guest pauses behind a login prompt, and asks for another when it has been silent for long: a question that
 * Enter brings again is one too, in whatever language. A shell that is there already tells whose it is.
 */
async function findPrompt(console: LoginConsole, prompt: RegExp, signal: AbortSignal): Promise<FoundPrompt> {
  const { log } = console
  let nudgedAt = performance.now() - (log.silentMs ?? 0)
  let nudged: { readonly line: string; readonly from: number } | undefined
  let askedAt = -1
  for (;;) {
    const silentMs = log.silentMs ?? 0
    const line = log.lineAt(log.plain.end)
    if (silentMs >= PAUSE_MS && LOGIN_PROMPT.test(line)) return { kind: 'login', line }
    if (silentMs >= SETTLED_MS) {
      const user =
        askedAt < 0
          ? undefined
          : SHELL_ANSWER.exec(log.plain.slice(Math.max(askedAt, log.plain.end - SEEN_CHARS)))?.[1]
      if (user !== undefined) return { kind: 'shell', user }
      const isAgain = nudged?.line === line && log.plain.end > nudged.from
      if (isAgain && ANY_QUESTION.test(line)) return { kind: 'login', line }
      if (askedAt < 0 && line.trim() !== '' && matches(prompt, line)) {
        askedAt = log.plain.end
        nudgedAt = performance.now()
        await console.type(`${SHELL_QUESTION}\n`)
      }
    }
    if (silentMs >= NUDGE_AFTER_MS && performance.now() - nudgedAt >= NUDGE_AFTER_MS) {
      nudgedAt = performance.now()
      nudged = { line, from: log.plain.end }
      await console.type('\n')
    }
    await pause(console, signal)
  }
}

/** Ends with the guest. */
async function pause({ waits }: LoginConsole, signal: AbortSignal): Promise<void> {
  if (waits.over !== undefined) throw waits.over
  await sleep(POLL_MS, undefined, { signal })
}

/** `g` and `y` carry state from one call to the next. */
function matches(pattern: RegExp, line: string): boolean {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).test(line)
}

function refused(log: SerialLog, begun: number, user: string, asked: Reply): Error {
  const needsPassword = asked === 'password'
  return vmError('LOGIN_FAILED', {
    summary: `the serial console did not let ${JSON.stringify(user)} in`,
    got: needsPassword ? 'a question for a password that is not known' : 'a refusal',
    evidence: [{ label: 'Serial console since then', text: log.plain.slice(begun).trim().slice(-2000) }],
    hint: needsPassword
      ? 'Give `password`; the guest asked for it, or for another one: it may have to be changed before the first login.'
      : 'Check user and password; `login` may also refuse root on a terminal that /etc/securetty does not name.',
  })
}

function otherUser(log: SerialLog, user: string, found: string): Error {
  return vmError('LOGIN_FAILED', {
    summary: `the serial console did not let ${JSON.stringify(user)} in`,
    got: `a shell of ${JSON.stringify(found)}`,
    evidence: [{ label: 'Last lines of the serial console', text: log.tail(30).join('\n') }],
    hint: `Nobody has to log in there: give \`user: '${found}'\`, or end that shell first.`,
  })
}

function timedOut(log: SerialLog, waitingFor: string, { timeoutMs, hint }: BoundWait): Error {
  const lastLine = log.lineAt(log.plain.end)
  return vmError('SERIAL_TIMEOUT', {
    summary: `serial.login() was not done within ${formatDuration(timeoutMs)}`,
    expected: waitingFor,
    got: JSON.stringify(lastLine),
    evidence: [{ label: 'Last lines of the serial console', text: log.tail(30).join('\n') }],
    hint:
      hint ??
      'Let the guest run a getty on its serial port; a shell whose prompt ends otherwise needs `prompt`.',
  })
}

function unusable({ user, timeout = '60s' }: SerialLogin): Error {
  return vmError('INVALID_OPTIONS', {
    summary: 'serial.login() got options that it cannot use',
    expected: "a user and a password of one line each, and a timeout such as '60s'",
    got: `user ${JSON.stringify(user)}, timeout ${JSON.stringify(timeout)}`,
    hint: "As in serial.login({ user: 'root', password: 'secret' }).",
  })
}
