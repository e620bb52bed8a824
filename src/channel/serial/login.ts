import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../../common/deadline.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
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
}

/** What the `login` of util-linux and of busybox and PAM's modules say. */
const REFUSED = /login incorrect|authentication failure|permission denied|account .*(?:expired|locked)/i
const LOGIN_PROMPT = /\blogin: ?$/
/** Kernel messages may come behind it. */
const PASSWORD_PROMPT = /password[^\n]{0,60}: ?/i
const SHELL_PROMPT = /[#$%>] ?$/
/** What printed its prompt long ago, or under kernel messages, prints another at Enter. `login` itself is silent for 3 s after a wrong password. */
const NUDGE_AFTER_MS = 5000
/** A prompt has no line end: it is what is still there after a pause. */
const PAUSE_MS = 150
const POLL_MS = 50

/** Answers the prompts of `login`. See `SerialConsole.login()`. */
export async function logIn(console: LoginConsole, options: SerialLogin): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? '60s')
  const { user, password, prompt = SHELL_PROMPT } = options
  if (timeoutMs === undefined || !isAnswer(user) || (password !== undefined && !isAnswer(password, 0)))
    throw unusable(options)
  const begun = console.log.plain.end
  let waitingFor = 'a login prompt'
  const onTimeout = () => timedOut(console.log, waitingFor, timeoutMs)
  await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, async (signal) => {
    await lastLineLike(console, LOGIN_PROMPT, signal)
    waitingFor = password === undefined ? 'a shell prompt' : 'a password prompt'
    let asked = await answer(console, user, password === undefined ? prompt : undefined, signal)
    if (asked === 'password' && password !== undefined) {
      waitingFor = 'a shell prompt'
      asked = await answer(console, password, prompt, signal)
    }
    if (asked !== 'shell') throw refused(console.log, begun, user, asked)
  })
}

function isAnswer(text: unknown, least = 1): boolean {
  return typeof text === 'string' && text.length >= least && !/[\r\n]/.test(text)
}

type Reply = 'shell' | 'password' | 'refused'

/** Types an answer and gives what comes of it. A user may have no password though one was given. */
async function answer(
  console: LoginConsole,
  text: string,
  shellPrompt: RegExp | undefined,
  signal: AbortSignal,
): Promise<Reply> {
  const from = console.log.plain.end
  const isUser = shellPrompt === undefined
  await console.type(`${text}\n`)
  let nudgedAt = performance.now()
  for (;;) {
    const since = console.log.plain.slice(from)
    // What stands behind the echo of the answer, or the line end that `login` prints for a hidden one.
    const printed = since.slice(since.indexOf('\n') + 1)
    if (REFUSED.test(printed)) return 'refused'
    const silentMs = console.log.silentMs ?? 0
    if (since.includes('\n') && silentMs >= PAUSE_MS) {
      const last = printed.slice(printed.lastIndexOf('\n') + 1)
      if (PASSWORD_PROMPT.test(printed)) return 'password'
      if (LOGIN_PROMPT.test(last)) return 'refused'
      if (last !== '' && matches(shellPrompt ?? SHELL_PROMPT, last)) return 'shell'
    }
    if (!isUser && silentMs >= NUDGE_AFTER_MS && performance.now() - nudgedAt >= NUDGE_AFTER_MS) {
      nudgedAt = performance.now()
      await console.type('\n')
    }
    await pause(console, signal)
  }
}

/** Waits until the guest pauses behind a line like that, and asks for another when it has been silent for long. */
async function lastLineLike(console: LoginConsole, pattern: RegExp, signal: AbortSignal): Promise<void> {
  const { log } = console
  let nudgedAt = performance.now()
  for (;;) {
    const silentMs = log.silentMs ?? 0
    if (silentMs >= PAUSE_MS && pattern.test(log.lineAt(log.plain.end))) return
    if (silentMs >= NUDGE_AFTER_MS && performance.now() - nudgedAt >= NUDGE_AFTER_MS) {
      nudgedAt = performance.now()
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
      ? 'Give `password`; the guest asked for it, or for another one.'
      : 'Check user and password; `login` may also refuse root on a terminal that /etc/securetty does not name.',
  })
}

function timedOut(log: SerialLog, waitingFor: string, timeoutMs: number): Error {
  const lastLine = log.lineAt(log.plain.end)
  return vmError('SERIAL_TIMEOUT', {
    summary: `serial.login() was not done within ${formatDuration(timeoutMs)}`,
    expected: waitingFor,
    got: JSON.stringify(lastLine),
    evidence: [{ label: 'Last lines of the serial console', text: log.tail(30).join('\n') }],
    hint: SHELL_PROMPT.test(lastLine)
      ? 'The console seems to show a shell already: then there is nothing to log in to.'
      : 'Let the guest run a getty on its serial port; a shell whose prompt ends otherwise needs `prompt`.',
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
