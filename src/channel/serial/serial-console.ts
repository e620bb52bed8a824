import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
import { createDeferred } from '../../common/deferred.js'
import { type Duration, parseDuration } from '../../common/duration.js'
import { MIB } from '../../common/units.js'
import { type BoundWait, boundWait, type WaitLimit } from '../../common/wait-limit.js'
import { consoleNotConnectedError, invalidConsoleOptionError, patternTimeout } from './console-errors.js'
import type { ConsoleLogFile } from './console-log-file.js'
import { ConsoleWaits } from './console-waits.js'
import { encodeKey, type SerialKey } from './keys.js'
import { type LoginOutcome, logIn, type SerialLogin } from './login.js'
import { type FoundPattern, PatternScan } from './pattern-scan.js'
import { ScreenTerminal } from './screen-terminal.js'
import { SerialLog } from './serial-log.js'
import { checkSize, requireAwait, type ScreenOptions, SerialScreen } from './serial-screen.js'

/**
 * Position in the console output, returned by {@link SerialConsole.mark} or as the end of a match.
 */
export interface SerialMark {
  /** Number of characters of the line view before this position. */
  readonly offset: number
}

/** Match of a pattern on the console. */
export interface SerialMatch {
  /**
   * Result of `RegExp.exec()`, with its capture groups. A string pattern has a result of the same
   * shape.
   */
  readonly match: RegExpExecArray
  /** Matched text. */
  readonly text: string
  /** Line in which the match begins, as printed so far. */
  readonly line: string
  /** Position directly after the match. Pass it as `from` to continue from there. */
  readonly end: SerialMark
}

/** Options of `vm.serial.waitFor()`. */
export interface SerialWait {
  /**
   * Maximum time to wait. In Vitest, every wait ends before the timeout of its test.
   * @default '30s', on a slow host up to two minutes
   */
  readonly timeout?: Duration | undefined
  /**
   * Position at which the search starts: a mark, the start of the log (`'start'`: the guest's first
   * power-on), or the current end of the log (`'now'`).
   * @default 'start'
   */
  readonly from?: SerialMark | 'start' | 'now' | undefined
  /** Aborts the wait. */
  readonly signal?: AbortSignal | undefined
}

export interface SerialConsoleOptions {
  /**
   * Path of the log file, which is complete. Memory holds only the last {@link maxTextChars}
   * characters.
   */
  readonly logPath?: string
  /** Log file to which all console output is appended. @default none */
  readonly logFile?: ConsoleLogFile | undefined
  /** Output of the guest from before this process connected. @default nothing */
  readonly printedBefore?: Uint8Array | undefined
  /** Number of characters kept in memory. @default 16 Mi characters */
  readonly maxTextChars?: number
  /** Timeout of waits that specify none. @default '30s' */
  readonly defaultTimeout?: Duration
  /** Time left for a wait if it has to end before its test. @default no limit */
  readonly waitLimit?: WaitLimit
}

/** Options of `vm.serial.type()` and `vm.serial.press()`. */
export interface TypeOptions {
  /**
   * Delay between two characters, for firmware and boot loaders that drop fast input. @default none
   */
  readonly delay?: Duration | undefined
  /** Aborts the typing. */
  readonly signal?: AbortSignal | undefined
}

const DEFAULT_MAX_CHARS = 16 * MIB
const DEFAULT_TIMEOUT: Duration = '30s'
/** Amount of past output drawn on a new screen: more than any screen shows. */
const REPLAY_CHARS = MIB
/**
 * Pause after Escape, in milliseconds. A program interprets input that follows sooner as part of an
 * escape sequence. vi waits 50 ms, longer under TCG.
 */
const AFTER_ESCAPE_MS = 150
/** Terminal replies are dropped while more bytes than this are unread by the guest. */
const MAX_UNREAD_REPLY_BYTES = 4096

/**
 * Serial console of a guest: all its output since the first power-on, across power cycles. Patterns
 * are matched against the line view, which has no escape sequences, control characters or `\r`.
 */
export class SerialConsole implements AsyncIterable<string> {
  static {
    traceCalls(SerialConsole, 'vm.serial', ['waitFor', 'write', 'type', 'press', 'login'])
  }

  /** Path of the complete log. Undefined for a console without a log file. */
  readonly logPath: string | undefined
  /** @internal Guest of this console, for matchers: they receive only the console. */
  owner: object | undefined
  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #log: SerialLog
  readonly #logFile: ConsoleLogFile | undefined
  readonly #waits = new ConsoleWaits()
  readonly #defaultTimeout: Duration
  readonly #waitLimit: WaitLimit
  #socket: Socket | undefined
  /** End of the output of the boot of a guest that is ready. */
  #readyAt: number | undefined
  #drained: Promise<void> = Promise.resolve()
  #terminal: Promise<ScreenTerminal> | undefined

  /** @internal */
  constructor(options: SerialConsoleOptions = {}) {
    this.logPath = options.logPath
    this.#logFile = options.logFile
    this.#defaultTimeout = options.defaultTimeout ?? DEFAULT_TIMEOUT
    this.#waitLimit = options.waitLimit ?? (() => Number.POSITIVE_INFINITY)
    this.#log = new SerialLog(options.maxTextChars ?? DEFAULT_MAX_CHARS)
    if (options.printedBefore !== undefined) this.#log.restore(options.printedBefore)
    this.#log.onText(() => this.#waits.scheduleCheck())
  }

  /** @internal Reads from a new connection of QEMU, which replaces the previous one. */
  attach(socket: Socket): void {
    const reader = this.#log.begin()
    this.#readyAt = undefined
    // Reset the terminal at power-on. CAN ends a truncated escape sequence.
    // An error is ignored, because screen() rejects with it.
    this.#terminal?.then((terminal) => terminal.push('\x18\x1bc')).catch(() => {})
    this.#socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', (bytes) => {
      this.#logFile?.write(bytes)
      reader.push(bytes)
    })
    const drained = createDeferred<void>()
    this.#drained = drained.promise
    socket.on('close', () => {
      reader.end()
      if (this.#socket === socket) this.#socket = undefined
      drained.resolve()
    })
  }

  /**
   * @internal Resolves when QEMU has closed its connection, all its output has been read and the
   * waits matched by it have resolved, or after `timeoutMs`.
   */
  async drain(timeoutMs: number): Promise<void> {
    const limit = createDeferred<void>()
    const timer = setTimeout(limit.resolve, timeoutMs)
    await Promise.race([this.#drained, limit.promise])
    clearTimeout(timer)
    this.#waits.checkNow()
    await new Promise(setImmediate) // callers that await one of these waits continue first
  }

  /**
   * Error that left the log file incomplete, for example a full disk. Undefined if the log file is
   * complete.
   */
  get logFailure(): Error | undefined {
    return this.#logFile?.failure
  }

  /**
   * Raw output, escape sequences included: the last 16 Mi characters. The complete log is in
   * `logPath`.
   */
  get text(): string {
    const { raw } = this.#log
    return raw.slice(raw.start)
  }

  /**
   * Returns the lines of {@link text} without escape sequences. The last line may be incomplete.
   */
  lines(): string[] {
    return this.#log.lines()
  }

  /** Returns the last `count` lines that are not empty. */
  tail(count: number): string[] {
    return this.#log.tail(count)
  }

  /** @internal Marks the present output as that of the boot, for {@link recent}. */
  markReady(): void {
    this.#readyAt = this.#log.plain.end
  }

  /**
   * @internal Returns the last `count` lines that are not empty, without those of the boot of a
   * guest that is ready.
   */
  recent(count: number): string[] {
    if (this.#readyAt === undefined) return this.tail(count)
    const lines = this.since({ offset: this.#readyAt })
      .slice(-count * 512)
      .split('\n')
    return lines.filter((line) => line.trim() !== '').slice(-count)
  }

  /** Returns the current end of the output as a position. */
  mark(): SerialMark {
    return { offset: this.#log.plain.end }
  }

  /** Returns the line view since a mark. */
  since(mark: SerialMark): string {
    return this.#log.plain.slice(Math.max(mark.offset, this.#log.plain.start))
  }

  /** Number of bytes received since the first power-on. */
  get printedBytes(): number {
    return this.#log.bytes
  }

  /** Milliseconds since the last byte was received; undefined before the first one. */
  get silentMs(): number | undefined {
    return this.#log.silentMs
  }

  /**
   * Waits until the output contains a pattern. Searches from the start of the log, or from the
   * position `from`. `^` and `$` match at line boundaries; the flags `g` and `y` are ignored; a
   * match spans at most 16384 characters.
   *
   * @throws {GuestError} SERIAL_TIMEOUT with the last lines when the pattern is not printed in
   *   time.
   * @example await vm.serial.waitFor(/login: $/)
   */
  async waitFor(pattern: string | RegExp, options: SerialWait = {}): Promise<SerialMatch> {
    const timeout = options.timeout ?? this.#defaultTimeout
    const longest = parseDuration(timeout)
    if (longest === undefined)
      throw invalidConsoleOptionError('serial.waitFor', 'timeout', timeout, "a duration such as '30s' or 500")
    if (pattern === '')
      throw invalidConsoleOptionError('serial.waitFor', 'pattern', pattern, 'a non-empty string or a RegExp')
    const { from = 'start' } = options
    const offset = from === 'start' ? 0 : from === 'now' ? this.#log.plain.end : from.offset
    const scan = new PatternScan(this.#log.plain, pattern, offset)
    const wait = this.#bound(longest)
    const onTimeout = () => patternTimeout(this.#log, pattern, wait)
    const { timeoutMs } = wait
    const found = this.#waits.until(() => scan.next(), { timeoutMs, signal: options.signal, onTimeout })
    return this.#toMatch(await found)
  }

  /**
   * Sends bytes to the console. Resolves when they have been passed to the kernel.
   *
   * @throws {UsageError} VM_NOT_RUNNING while no guest is connected.
   */
  async write(data: string | Uint8Array): Promise<void> {
    // Terminal replies to the guest precede input that is typed later.
    const terminal = await this.#terminal
    if (terminal?.sendsReplies) await terminal.flushed()
    await this.#send(data)
  }

  #send(data: string | Uint8Array): Promise<void> {
    const socket = this.#socket
    return new Promise((resolve, reject) => {
      if (socket === undefined || !socket.writable) return reject(consoleNotConnectedError())
      socket.write(data, (error) => (error ? reject(consoleNotConnectedError(error)) : resolve()))
    })
  }

  /**
   * Types text like a keyboard: a line feed is sent as the key Enter.
   *
   * @throws {UsageError} VM_NOT_RUNNING while no guest is connected.
   * @example await vm.serial.type('yes\n')
   */
  async type(text: string, options: TypeOptions = {}): Promise<void> {
    const { delay, signal } = options
    const delayMs = parseDuration(delay)
    if (delay !== undefined && delayMs === undefined)
      throw invalidConsoleOptionError('serial.type', 'delay', delay, "a duration such as '20ms'")
    signal?.throwIfAborted()
    const keyed = text.replace(/\r?\n/g, '\r')
    if (delayMs === undefined) return this.write(keyed)
    for (const character of keyed) {
      await this.write(character)
      await sleep(delayMs, undefined, { signal })
    }
  }

  /**
   * Presses keys in sequence: `'Enter'`, `'Down'`, `'F2'`, `'Ctrl-C'`, `'Alt-x'`, `'Shift-Tab'`, or
   * a character. Sends the escape sequences of xterm, including its application mode of the cursor
   * keys.
   *
   * @throws {UsageError} INVALID_OPTIONS when a key is unknown, VM_NOT_RUNNING while no guest is
   *   connected.
   * @example await vm.serial.press('Down', 'Down', 'Enter')
   */
  async press(...keys: readonly SerialKey[]): Promise<void> {
    for (const key of keys) encodeKey(key) // throws before any key is pressed
    const terminal = await this.#openTerminal()
    for (const key of keys) {
      await terminal.flushed()
      await this.#send(encodeKey(key, terminal.isApplicationMode))
      if (key === 'Escape') await sleep(AFTER_ESCAPE_MS)
    }
  }

  /**
   * Answers the prompts of `login` and waits for the shell. Accepts a prompt that was printed
   * earlier, and a shell in which the user is already logged in. If the guest is silent, sends
   * Enter to get a new prompt.
   *
   * @throws {GuestError} LOGIN_FAILED when the guest rejects the login, SERIAL_TIMEOUT when a
   *   prompt is not printed in time.
   * @example await vm.serial.login({ user: 'root', password: 'secret' })
   */
  login(options: SerialLogin): Promise<LoginOutcome> {
    const type = (text: string) => this.type(text)
    const bound = (longestMs: number) => this.#bound(longestMs)
    return logIn({ log: this.#log, waits: this.#waits, type, bound }, options)
  }

  /**
   * Returns the console as an emulated terminal shows it: rows of text and a cursor. All output up
   * to now is drawn. The console has one terminal: each call returns it, resized to the given size.
   *
   * @throws {UsageError} INVALID_OPTIONS when the size is not supported.
   * @example const screen = await vm.serial.screen()
   */
  screen(options: ScreenOptions = {}): Promise<SerialScreen> {
    const open = () => this.#openScreen(options)
    const call = { describe: () => 'vm.serial.screen()', entry: this.screen }
    return requireAwait(this.calls === undefined ? open() : this.calls.run(call, open))
  }

  async #openScreen(options: ScreenOptions): Promise<SerialScreen> {
    const { columns, rows, replies } = options
    if (columns !== undefined) checkSize('columns', columns)
    if (rows !== undefined) checkSize('rows', rows)
    const terminal = await this.#openTerminal(columns, rows)
    await terminal.flushed()
    terminal.resize(columns ?? terminal.columns, rows ?? terminal.rows)
    terminal.sendsReplies = replies ?? terminal.sendsReplies
    const bound = (longestMs: number) => this.#bound(longestMs)
    const screen = new SerialScreen(terminal, this.#waits, { defaultTimeout: this.#defaultTimeout, bound })
    screen.calls = this.calls
    return screen
  }

  /**
   * Calls `listener` with each chunk of raw output. Returns a function that removes the listener.
   */
  onText(listener: (text: string) => void): () => void {
    return this.#log.onText(listener)
  }

  /**
   * Yields each complete line of the line view from the start of the log. Ends when the guest is
   * disposed of.
   */
  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    return this.#log.readLines()
  }

  /**
   * @internal Rejects all waits with `reason`, because the guest will print nothing more. Until
   * `resume()`, later waits are rejected too. Waits whose pattern is in the output already resolve.
   */
  interrupt(reason: Error): void {
    this.#waits.interrupt(reason)
  }

  /** @internal Reason of `interrupt()` or `close()`; undefined while the guest can still print. */
  get interruption(): Error | undefined {
    return this.#waits.interruption
  }

  /** @internal Ends an `interrupt()`: the guest starts again. */
  resume(): void {
    this.#waits.resume()
  }

  /**
   * @internal Rejects all waits with `reason` and stops reading. The output received so far stays
   * available. Idempotent.
   */
  close(reason: Error = consoleNotConnectedError()): void {
    if (this.#waits.isClosed) return
    this.#waits.close(reason)
    this.#socket?.destroy()
    this.#log.close()
  }

  #openTerminal(columns = 80, rows = 24): Promise<ScreenTerminal> {
    this.#terminal ??= this.#startTerminal(columns, rows)
    return this.#terminal
  }

  async #startTerminal(columns: number, rows: number): Promise<ScreenTerminal> {
    const terminal = await ScreenTerminal.open(columns, rows, {
      onDrawn: () => this.#waits.scheduleCheck(),
      onReply: (text) => this.#reply(text),
    })
    this.#log.onText((text) => terminal.push(text))
    const { raw } = this.#log
    await terminal.replay(raw.slice(Math.max(raw.start, raw.end - REPLAY_CHARS)))
    return terminal
  }

  /**
   * Sends the terminal's reply to a query of the guest, unless the guest does not read its input.
   */
  #reply(text: string): void {
    if ((this.#socket?.writableLength ?? 0) > MAX_UNREAD_REPLY_BYTES) return
    this.#send(text).catch(() => {}) // the guest has disconnected
  }

  /** Waits without a timeout are those of a start, which has its own time limits. */
  #bound(longestMs: number): BoundWait {
    return boundWait(longestMs, Number.isFinite(longestMs) ? this.#waitLimit : () => Number.POSITIVE_INFINITY)
  }

  #toMatch({ match, start, end }: FoundPattern): SerialMatch {
    return { match, text: match[0], line: this.#log.lineAt(start), end: { offset: end } }
  }
}
