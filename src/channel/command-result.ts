import type { Readable, Writable } from 'node:stream'
import { type Duration, formatDuration } from '../common/duration.js'
import { quoteWord } from '../common/process/shell-quote.js'
import { CommandError, type CommandOutcome, type Evidence, vmError } from '../errors.js'

/** What a command in the guest left behind. With `encoding: 'buffer'` both streams are Buffers. */
export interface CommandResult<Output extends string | Buffer = string> {
  readonly command: string
  /** As text: UTF-8, without one final line end. */
  readonly stdout: Output
  readonly stderr: Output
  /** Undefined when a signal ended the command. */
  readonly exitCode: number | undefined
  /** The name of the signal that ended the command, as `SIGTERM`. */
  readonly signal: string | undefined
  readonly durationMs: number
}

export interface CommandOptions {
  /** What the command reads. @default nothing: it meets the end of the file at once */
  readonly stdin?: string | Uint8Array | Readable | undefined
  /** How long the command may run. @default no limit */
  readonly timeout?: Duration | undefined
  readonly signal?: AbortSignal | undefined
  /** Variables for the command, on top of those that a login gives. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** False gives the result of a command that failed instead of throwing. @default true */
  readonly reject?: boolean | undefined
  /** Gets the output as it comes, besides its being collected. */
  readonly stdout?: Writable | ((text: string) => void) | undefined
  /** Gets the error output as it comes, besides its being collected. */
  readonly stderr?: Writable | ((text: string) => void) | undefined
  /** The most bytes that are collected of each stream; a command that writes more is killed. @default 16 MiB */
  readonly maxBuffer?: number | undefined
  /** False only passes the streams on to `stdout` and `stderr`, however long they get; the result's are empty. @default true */
  readonly collect?: boolean | undefined
  /** @default 'utf8' */
  readonly encoding?: 'utf8' | 'buffer' | undefined
}

/** How a command ended, with its streams as bytes. */
export interface RawOutcome {
  readonly command: string
  readonly stdout: Buffer
  readonly stderr: Buffer
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly durationMs: number
}

const MAX_EVIDENCE_CHARS = 4000
/** Of what was too much, the error carries as much of each stream: as text it would be twice as large once more. */
const MAX_OVERFLOW_BYTES = 256 * 1024

/** Gives the result of a command that ended, or throws COMMAND_FAILED as its options say. */
export function settleCommand(raw: RawOutcome, options: CommandOptions): CommandResult<string | Buffer> {
  if (options.reject !== false && raw.exitCode !== 0) throw failCommand(decodeOutcome(raw))
  return options.encoding === 'buffer' ? { ...raw } : decodeOutcome(raw)
}

/** The error of a command that ended badly. */
export function failCommand(outcome: CommandOutcome): CommandError {
  const got = outcome.signal === undefined ? `exit code ${outcome.exitCode}` : `signal ${outcome.signal}`
  return new CommandError('COMMAND_FAILED', {
    outcome,
    summary: `the command ${nameCommand(outcome.command)} failed after ${formatDuration(outcome.durationMs)}`,
    expected: 'exit code 0',
    got,
    evidence: describeOutput(outcome),
    hint: hintForFailure(outcome),
  })
}

/** The error of a command that was ended because its time was up, or because its caller gave up. */
export function timeOutCommand(
  raw: RawOutcome,
  cause: { timeoutMs: number } | { aborted: unknown },
): CommandError {
  const outcome = decodeOutcome(raw)
  const isTimeout = 'timeoutMs' in cause
  return new CommandError('COMMAND_TIMEOUT', {
    outcome,
    summary: `the command ${nameCommand(outcome.command)} ${isTimeout ? `did not end within ${formatDuration(cause.timeoutMs)}` : `was aborted after ${formatDuration(outcome.durationMs)}`}`,
    evidence: describeOutput(outcome),
    hint: isTimeout
      ? 'Give it a longer `timeout`, or see in its output so far what it waits for.'
      : 'Its AbortSignal was aborted: see the cause.',
    cause: isTimeout ? undefined : cause.aborted,
  })
}

/** The error of a command that wrote more than is collected. */
export function overflowCommand(raw: RawOutcome, stream: string, maxBytes: number): CommandError {
  const outcome = decodeOutcome({
    ...raw,
    stdout: raw.stdout.subarray(-MAX_OVERFLOW_BYTES),
    stderr: raw.stderr.subarray(-MAX_OVERFLOW_BYTES),
  })
  return new CommandError('COMMAND_FAILED', {
    outcome,
    summary: `the command ${nameCommand(outcome.command)} was killed: it wrote too much to ${stream}`,
    expected: `at most ${maxBytes} bytes`,
    evidence: describeOutput(outcome),
    hint: 'Raise `maxBuffer`, or write to a file in the guest and download it.',
  })
}

/** Both streams, the last part of each, as evidence. */
export function describeOutput(outcome: CommandOutcome): readonly Evidence[] {
  return [
    { label: 'Command', text: outcome.command.includes('\n') ? outcome.command : '' },
    { label: 'stdout', text: keepTail(outcome.stdout) },
    { label: 'stderr', text: keepTail(outcome.stderr) },
  ].filter((piece) => piece.text !== '')
}

export function decodeOutcome(raw: RawOutcome): CommandResult {
  return { ...raw, stdout: decodeText(raw.stdout), stderr: decodeText(raw.stderr) }
}

/** Puts the variables in front of a command: SSH servers refuse most of those that a client sends. */
export function prefixEnv(command: string, env: Readonly<Record<string, string>> | undefined): string {
  const names = Object.keys(env ?? {})
  if (env === undefined || names.length === 0) return command
  for (const name of names) {
    if (/^[A-Za-z_]\w*$/.test(name) && typeof env[name] === 'string') continue
    throw vmError('INVALID_OPTIONS', {
      summary: `the variable ${JSON.stringify(name)} cannot be given to a command`,
      expected: 'a name of letters, digits and `_`, and a string as its value',
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

/** A command for a message: its first line, cut where it is long. */
export function nameCommand(command: string): string {
  const line = command.trim().split('\n', 1)[0] ?? ''
  return `\`${line.length > 120 || line !== command.trim() ? `${line.slice(0, 119)}…` : line}\``
}

function keepTail(text: string): string {
  if (text.length <= MAX_EVIDENCE_CHARS) return text
  return `(the last ${MAX_EVIDENCE_CHARS} of ${text.length} characters)\n…${text.slice(-MAX_EVIDENCE_CHARS)}`
}

const NO_NETWORK =
  /Temporary failure in name resolution|Temporary failure resolving|Could not resolve|bad address|Network is unreachable|No route to host/i

function hintForFailure({ exitCode, signal, stderr }: CommandOutcome): string {
  if (NO_NETWORK.test(stderr)) {
    return 'A guest has no network to the outside unless asked for: set `network: { internet: true }`.'
  }
  if (exitCode === 127)
    return "The guest's shell did not find the program: install it in the image, or give its path."
  if (exitCode === 126) return 'The program was found but cannot be run: check its mode and its architecture.'
  if (signal === 'SIGKILL' || exitCode === 137) {
    return "The guest's kernel kills what uses up its memory: look for `Out of memory` on the serial console, and give it more `memory`."
  }
  return 'See its output. Use `reject: false` to get the result of a command that may fail.'
}
