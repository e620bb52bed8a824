import type { Readable, Writable } from 'node:stream'
import { type Duration, formatDuration } from '../common/duration.js'
import { quoteWord } from '../common/process/shell-quote.js'
import { KIB } from '../common/units.js'
import { testTimeoutHint } from '../common/wait-limit.js'
import { shortenText } from '../errors/safe-text.js'
import { CommandError, type CommandOutcome, type Evidence, vmError } from '../errors.js'

/** Result of a command in the guest. With `encoding: 'buffer'`, both streams are Buffers. */
export interface CommandResult<Output extends string | Buffer = string> {
  /** Command line as run by the guest. */
  readonly command: string
  /** Standard output. Text is decoded as UTF-8, without one final line end. */
  readonly stdout: Output
  /** Standard error, in the same form as `stdout`. */
  readonly stderr: Output
  /** Exit code; undefined if a signal ended the command. */
  readonly exitCode: number | undefined
  /** Name of the signal that ended the command, such as `SIGTERM`. */
  readonly signal: string | undefined
  /** Duration of the command, in milliseconds. */
  readonly durationMs: number
}

/** Options of `vm.exec()`, and of `vm.ssh()` in addition to its own. */
export interface CommandOptions {
  /** Standard input of the command. @default empty: the command reads the end of file at once */
  readonly stdin?: string | Uint8Array | Readable | undefined
  /** Maximum run time. The command is killed when it is exceeded. @default no limit */
  readonly timeout?: Duration | undefined
  /** Kills the command when aborted. */
  readonly signal?: AbortSignal | undefined
  /** Environment variables of the command, in addition to those of the login environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** If false, a command that fails returns its result instead of throwing. @default true */
  readonly reject?: boolean | undefined
  /** Receives the standard output while the command runs, in addition to the result. */
  readonly stdout?: Writable | ((text: string) => void) | undefined
  /** Receives the standard error while the command runs, in addition to the result. */
  readonly stderr?: Writable | ((text: string) => void) | undefined
  /**
   * Maximum number of bytes collected of each stream. A command that writes more is killed.
   * @default 16 MiB
   */
  readonly maxBuffer?: number | undefined
  /**
   * If false, the streams are only passed to `stdout` and `stderr`, without a limit, and are empty
   * in the result.
   * @default true
   */
  readonly collect?: boolean | undefined
  /** Encoding of the streams in the result. @default 'utf8' */
  readonly encoding?: 'utf8' | 'buffer' | undefined
}

/** Outcome of a command, with undecoded streams. */
export interface RawOutcome {
  /** Command line as run by the guest. */
  readonly command: string
  readonly stdout: Buffer
  readonly stderr: Buffer
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  /** Duration of the command, in milliseconds. */
  readonly durationMs: number
}

const MAX_EVIDENCE_CHARS = 4000
/**
 * Part of each stream that an overflow error carries, because decoded text takes twice the memory.
 */
const MAX_OVERFLOW_BYTES = 256 * KIB

/** Returns the result of a command, or throws COMMAND_FAILED unless `reject` is false. */
export function settleCommand(raw: RawOutcome, options: CommandOptions): CommandResult<string | Buffer> {
  if (options.reject !== false && raw.exitCode !== 0) throw commandFailedError(decodeOutcome(raw))
  return options.encoding === 'buffer' ? { ...raw } : decodeOutcome(raw)
}

/** Builds the error of a command that failed. */
export function commandFailedError(outcome: CommandOutcome): CommandError {
  const got = outcome.signal === undefined ? `exit code ${outcome.exitCode}` : `signal ${outcome.signal}`
  return new CommandError('COMMAND_FAILED', {
    outcome,
    summary: `The command ${nameCommand(outcome.command)} failed after ${formatDuration(outcome.durationMs)}.`,
    expected: 'exit code 0',
    got,
    evidence: describeOutput(outcome),
    hint: hintForFailure(outcome),
  })
}

/** Reason for aborting a command: its test is about to time out. */
export class TestEnds {
  /** Processes in the guest, one per line. Empty if they could not be listed. */
  readonly processes: string

  constructor(processes: string) {
    this.processes = processes
  }
}

/** Builds the error of a command that timed out or was aborted. */
export function timeOutCommand(
  raw: RawOutcome,
  cause: { timeoutMs: number } | { aborted: unknown },
): CommandError {
  const outcome = decodeOutcome(raw)
  if ('aborted' in cause && cause.aborted instanceof TestEnds) return testEndsError(outcome, cause.aborted)
  const isTimeout = 'timeoutMs' in cause
  return new CommandError('COMMAND_TIMEOUT', {
    outcome,
    summary: `The command ${nameCommand(outcome.command)} ${isTimeout ? `did not end within ${formatDuration(cause.timeoutMs)}` : `was aborted after ${formatDuration(outcome.durationMs)}`}.`,
    evidence: describeOutput(outcome),
    hint: isTimeout
      ? 'Raise `timeout`, or check the output above for the reason.'
      : 'See the cause of this error: the AbortSignal of the command was aborted.',
    cause: isTimeout ? undefined : cause.aborted,
  })
}

function testEndsError(outcome: CommandResult, { processes }: TestEnds): CommandError {
  const output = describeOutput(outcome)
  return new CommandError('COMMAND_TIMEOUT', {
    outcome,
    summary: `The command ${nameCommand(outcome.command)} was still running after ${formatDuration(outcome.durationMs)}, when its test was about to time out.`,
    got: outcome.stdout === '' && outcome.stderr === '' ? 'no output' : 'the output below',
    evidence: [...output, { label: 'Processes in the guest', text: processes }],
    hint: testTimeoutHint('command'),
  })
}

/** Builds the error of a command whose output exceeds the limit. */
export function outputOverflowError(raw: RawOutcome, stream: string, maxBytes: number): CommandError {
  const outcome = decodeOutcome({
    ...raw,
    stdout: raw.stdout.subarray(-MAX_OVERFLOW_BYTES),
    stderr: raw.stderr.subarray(-MAX_OVERFLOW_BYTES),
  })
  return new CommandError('COMMAND_FAILED', {
    outcome,
    summary: `The command ${nameCommand(outcome.command)} was killed: it wrote too much to ${stream}.`,
    expected: `at most ${maxBytes} bytes`,
    evidence: describeOutput(outcome),
    hint: 'Raise `maxBuffer`, or write the output to a file in the guest and download it.',
  })
}

/** Returns the start and the end of each stream as evidence. */
export function describeOutput(outcome: CommandOutcome): readonly Evidence[] {
  return [
    { label: 'Command', text: outcome.command.includes('\n') ? outcome.command : '' },
    { label: 'stdout', text: shortenText(outcome.stdout, MAX_EVIDENCE_CHARS) },
    { label: 'stderr', text: shortenText(outcome.stderr, MAX_EVIDENCE_CHARS) },
  ].filter((piece) => piece.text !== '')
}

export function decodeOutcome(raw: RawOutcome): CommandResult {
  return { ...raw, stdout: decodeText(raw.stdout), stderr: decodeText(raw.stderr) }
}

/**
 * Prefixes a command with its environment variables: SSH servers reject most variables that a
 * client sends.
 */
export function prefixEnv(command: string, env: Readonly<Record<string, string>> | undefined): string {
  const names = Object.keys(env ?? {})
  if (env === undefined || names.length === 0) return command
  for (const name of names) {
    if (/^[A-Za-z_]\w*$/.test(name) && typeof env[name] === 'string') continue
    throw vmError('INVALID_OPTIONS', {
      summary: `The environment variable ${JSON.stringify(name)} is invalid.`,
      expected: 'a name of letters, digits and `_`, with a string as its value',
      got: `${name}=${String(env[name])}`,
      hint: 'Correct the option `env`.',
    })
  }
  return `export ${names.map((name) => `${name}=${quoteWord(env[name] as string)}`).join(' ')}; ${command}`
}

function decodeText(bytes: Buffer): string {
  const end =
    bytes.at(-1) !== 0x0a ? bytes.length : bytes.at(-2) === 0x0d ? bytes.length - 2 : bytes.length - 1
  return bytes.toString('utf8', 0, end)
}

/** Formats a command for a message: its first line, truncated. */
export function nameCommand(command: string): string {
  const line = command.trim().split('\n', 1)[0] ?? ''
  return `\`${line.length > 120 || line !== command.trim() ? `${line.slice(0, 119)}…` : line}\``
}

const NO_NETWORK =
  /Temporary failure in name resolution|Temporary failure resolving|Could not resolve|bad address|Network is unreachable|No route to host/i

function hintForFailure({ exitCode, signal, stderr }: CommandOutcome): string {
  if (/No space left on device/.test(stderr)) {
    return 'Free space in the guest or use a larger disk: a file system of the guest is full. A tmpfs needs more `memory`.'
  }
  if (NO_NETWORK.test(stderr)) {
    return 'Set `network: { internet: true }`: by default, a guest cannot reach the internet.'
  }
  if (exitCode === 127)
    return 'Install the program in the image, or specify its path: the shell of the guest did not find it.'
  if (exitCode === 126) return 'Check the mode and the architecture of the program: it cannot be executed.'
  if (signal === 'SIGKILL' || exitCode === 137) {
    return 'Look for `Out of memory` on the serial console, and raise `memory`: the kernel may have killed the command.'
  }
  return 'Check the output of the command. Use `reject: false` if the command may fail.'
}
