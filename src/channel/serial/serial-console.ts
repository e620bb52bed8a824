import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDeferred } from '../../common/deferred.js'
import { type Duration, parseDuration } from '../../common/duration.js'
import { type BoundWait, boundWait, type WaitLimit } from '../../common/wait-limit.js'
import { notConnected, patternTimeout, unusable } from './console-errors.js'
import type { ConsoleLogFile } from './console-log-file.js'
import { ConsoleWaits } from './console-waits.js'
import { encodeKey, type SerialKey } from './keys.js'
import { type LoginOutcome, logIn, type SerialLogin } from './login.js'
import { type FoundPattern, PatternScan } from './pattern-scan.js'
import { ScreenTerminal } from './screen-terminal.js'
import { SerialLog } from './serial-log.js'
import { checkSize, requireAwait, type ScreenOptions, SerialScreen } from './serial-screen.js'

/** A position in the console's output, from {@link SerialConsole.mark} or the end of a match. */
export interface SerialMark {
  /** Characters of the line view before it. */
  readonly offset: number
}

export interface SerialMatch {
  /** What `RegExp.exec` gave: the text, its groups and `groups`. A string pattern gives the same shape. */
  readonly match: RegExpExecArray
  /** What matched. */
  readonly text: string
  /** The line in which the match begins, as far as it has come. */
  readonly line: string
  /** The position right behind the match: where a next wait may go on. */
  readonly end: SerialMark
}

export interface SerialWait {
  /**
   * How long to wait at most. In Vitest, every wait ends before its test does.
   * @default '30s', on a slow host up to two minutes
   */
  readonly timeout?: Duration
  /**
   * Where to look from: a mark, the first byte since the guest was switched on for the first time, or only what
   * comes from now on.
   * @default 'start'
   */
  readonly from?: SerialMark | 'start' | 'now'
  readonly signal?: AbortSignal | undefined
}

export interface SerialConsoleOptions {
  /** Path of the log file: complete, while this process keeps the last {@link maxTextChars} characters. */
  readonly logPath?: string
  /** Log file to which everything that comes is appended. @default none */
  readonly logFile?: ConsoleLogFile | undefined
  /** What the guest had printed before it came to be read here. @default nothing */
  readonly printedBefore?: Uint8Array | undefined
  /** @default 16 Mi characters */
  readonly maxTextChars?: number
  /** @default '30s' */
  readonly defaultTimeout?: Duration
  /** How long a wait may take to end before its test. @default no limit */
  readonly waitLimit?: WaitLimit
}

export interface TypeOptions {
  /** Between two characters, for firmware and bootloaders that lose what comes too fast. @default none */
  readonly delay?: Duration
  readonly signal?: AbortSignal | undefined
}

const DEFAULT_MAX_CHARS = 16 * 1024 * 1024
const DEFAULT_TIMEOUT: Duration = '30s'
/** A new screen draws at most this much of what has been printed: more than any screen shows. */
const REPLAY_CHARS = 1024 * 1024
/** What follows an Escape sooner is taken for the rest of a sequence; vi waits for 50 ms, under TCG for longer. */
const AFTER_ESCAPE_MS = 150
/** Bytes that may wait until the guest reads them before answers to its questions are dropped. */
const MAX_UNREAD_ANSWERS = 4096

/**
 * A guest's serial console: everything that it wrote since it was first switched on, over all its power
 * cycles. Patterns are looked for in the line view: without escape sequences, control characters and `\r`.
 */
export class SerialConsole implements AsyncIterable<string> {
  readonly logPath: string | undefined
  readonly #log: SerialLog
  readonly #logFile: ConsoleLogFile | undefined
  readonly #waits = new ConsoleWaits()
  readonly #defaultTimeout: Duration
  readonly #waitLimit: WaitLimit
  #socket: Socket | undefined
  #drained: Promise<void> = Promise.resolve()
  #terminal: Promise<ScreenTerminal> | undefined

  constructor(options: SerialConsoleOptions = {}) {
    this.logPath = options.logPath
    this.#logFile = options.logFile
    this.#defaultTimeout = options.defaultTimeout ?? DEFAULT_TIMEOUT
    this.#waitLimit = options.waitLimit ?? (() => Number.POSITIVE_INFINITY)
    this.#log = new SerialLog(options.maxTextChars ?? DEFAULT_MAX_CHARS)
    if (options.printedBefore !== undefined) this.#log.restore(options.printedBefore)
    this.#log.onText(() => this.#waits.lookSoon())
  }

  /** Reads from a connection of QEMU's, in place of the one before. */
  attach(socket: Socket): void {
    const reader = this.#log.begin()
    // A guest that is switched on finds a terminal as new. CAN ends a sequence that was cut off.
    this.#terminal?.then((terminal) => terminal.push('\x18\x1bc')).catch(() => {}) // who opened it is told
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
   * Resolves when QEMU has closed its connection, everything from it has been read, and waits that it fulfills have
   * resolved. Gives up after `timeoutMs`.
   */
  async drain(timeoutMs: number): Promise<void> {
    const limit = createDeferred<void>()
    const timer = setTimeout(limit.resolve, timeoutMs)
    await Promise.race([this.#drained, limit.promise])
    clearTimeout(timer)
    this.#waits.lookNow()
    await new Promise(setImmediate) // what awaits such a wait goes on first
  }

  /** Why the log file ends early, as on a full disk; undefined while it is complete. */
  get logFailure(): Error | undefined {
    return this.#logFile?.failure
  }

  /** Everything as it came, escape sequences included: the last 16 Mi characters; the whole is in `logPath`. */
  get text(): string {
    const { raw } = this.#log
    return raw.slice(raw.start)
  }

  /** The line view of {@link text}; the last line may be incomplete. */
  lines(): string[] {
    return this.#log.lines()
  }

  /** The last lines that are not empty. */
  tail(count: number): string[] {
    return this.#log.tail(count)
  }

  /** The position behind everything that has come so far. */
  mark(): SerialMark {
    return { offset: this.#log.plain.end }
  }

  /** The line view since a mark. */
  since(mark: SerialMark): string {
    return this.#log.plain.slice(Math.max(mark.offset, this.#log.plain.start))
  }

  /** How many bytes have come since the guest was first switched on. */
  get printedBytes(): number {
    return this.#log.bytes
  }

  /** Milliseconds since the last byte came, or undefined when none has. */
  get silentMs(): number | undefined {
    return this.#log.silentMs
  }

  /**
   * Waits until a pattern has come, from the very start of the log on unless `from` says otherwise. `^` and `$`
   * match at the bounds of lines; `g` and `y` are ignored; a match may span 16384 characters.
   *
   * @throws {GuestError} SERIAL_TIMEOUT with the last lines when it does not come in time.
   * @example await vm.serial.waitFor(/login: $/)
   */
  async waitFor(pattern: string | RegExp, options: SerialWait = {}): Promise<SerialMatch> {
    const timeout = options.timeout ?? this.#defaultTimeout
    const longest = parseDuration(timeout)
    if (longest === undefined)
      throw unusable('serial.waitFor', 'timeout', timeout, "a duration, as '30s' or 500")
    if (pattern === '')
      throw unusable('serial.waitFor', 'pattern', pattern, 'a text that is not empty, or a RegExp')
    const { from = 'start' } = options
    const offset = from === 'start' ? 0 : from === 'now' ? this.#log.plain.end : from.offset
    const scan = new PatternScan(this.#log.plain, pattern, offset)
    const wait = this.#bound(longest)
    const onTimeout = () => patternTimeout(this.#log, this.logPath, pattern, wait)
    const { timeoutMs } = wait
    const found = this.#waits.until(() => scan.next(), { timeoutMs, signal: options.signal, onTimeout })
    return this.#toMatch(await found)
  }

  /**
   * Sends bytes to the console. Resolves when they have left this process.
   *
   * @throws {UsageError} VM_NOT_RUNNING while no guest is connected.
   */
  async write(data: string | Uint8Array): Promise<void> {
    // A question of the guest's is answered before what is typed after it.
    const terminal = await this.#terminal
    if (terminal?.isAnswering) await terminal.caughtUp()
    await this.#send(data)
  }

  #send(data: string | Uint8Array): Promise<void> {
    const socket = this.#socket
    return new Promise((resolve, reject) => {
      if (socket === undefined || !socket.writable) return reject(notConnected())
      socket.write(data, (error) => (error ? reject(notConnected(error)) : resolve()))
    })
  }

  /**
   * Types a text, as a keyboard does: a line end is the key Enter.
   *
   * @throws {UsageError} VM_NOT_RUNNING while no guest is connected.
   * @example await vm.serial.type('yes\n')
   */
  async type(text: string, options: TypeOptions = {}): Promise<void> {
    const { delay, signal } = options
    const delayMs = parseDuration(delay)
    if (delay !== undefined && delayMs === undefined)
      throw unusable('serial.type', 'delay', delay, "a duration, as '20ms'")
    signal?.throwIfAborted()
    const keyed = text.replace(/\r?\n/g, '\r')
    if (delayMs === undefined) return this.write(keyed)
    for (const character of keyed) {
      await this.write(character)
      await sleep(delayMs, undefined, { signal })
    }
  }

  /**
   * Presses keys, one after the other: `'Enter'`, `'Down'`, `'F2'`, `'Ctrl-C'`, `'Alt-x'`, `'Shift-Tab'`, or a
   * character. They send what xterm sends, also to a program that has asked for other cursor keys.
   *
   * @throws {UsageError} INVALID_OPTIONS when a terminal has no such key, VM_NOT_RUNNING while no guest is connected.
   * @example await vm.serial.press('Down', 'Down', 'Enter')
   */
  async press(...keys: readonly SerialKey[]): Promise<void> {
    for (const key of keys) encodeKey(key) // all of them are known, or none is pressed
    const terminal = await this.#openTerminal()
    for (const key of keys) {
      await terminal.caughtUp()
      await this.#send(encodeKey(key, terminal.isApplicationMode))
      if (key === 'Escape') await sleep(AFTER_ESCAPE_MS)
    }
  }

  /**
   * Answers the prompts of `login` and waits for the shell. A prompt that was printed before will do; a guest
   * that has been silent for long is asked for another one by Enter. A shell of that user that is there already will do too.
   *
   * @throws {GuestError} LOGIN_FAILED when the guest refuses, SERIAL_TIMEOUT when a prompt does not come in time.
   * @example await vm.serial.login({ user: 'root', password: 'secret' })
   */
  login(options: SerialLogin): Promise<LoginOutcome> {
    const type = (text: string) => this.type(text)
    const bound = (longestMs: number) => this.#bound(longestMs)
    return logIn({ log: this.#log, waits: this.#waits, type, bound }, options)
  }

  /**
   * The console as a terminal shows it: rows of text and a cursor, with all that has come up to now. There is
   * one terminal: another call gives the same, in the size that it asks for.
   *
   * @throws {UsageError} INVALID_OPTIONS when no terminal has that size.
   * @example const screen = await vm.serial.screen()
   */
  screen(options: ScreenOptions = {}): Promise<SerialScreen> {
    return requireAwait(this.#openScreen(options))
  }

  async #openScreen(options: ScreenOptions): Promise<SerialScreen> {
    const { columns, rows, answers } = options
    if (columns !== undefined) checkSize('columns', columns)
    if (rows !== undefined) checkSize('rows', rows)
    const terminal = await this.#openTerminal(columns, rows)
    await terminal.caughtUp()
    terminal.resize(columns ?? terminal.columns, rows ?? terminal.rows)
    terminal.isAnswering = answers ?? terminal.isAnswering
    const bound = (longestMs: number) => this.#bound(longestMs)
    return new SerialScreen(terminal, this.#waits, { defaultTimeout: this.#defaultTimeout, bound })
  }

  /** Calls `listener` with each piece of raw text as it comes. Gives a function that ends it. */
  onText(listener: (text: string) => void): () => void {
    return this.#log.onText(listener)
  }

  /** Gives each complete line of the line view from the start of the log on, and ends when the console is closed. */
  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    return this.#log.readLines()
  }

  /**
   * Ends all waits with `reason`, and every later one whose pattern has not come already, until `resume()`:
   * nothing more is to be expected of this guest. What has come up to now is looked at first.
   */
  interrupt(reason: Error): void {
    this.#waits.interrupt(reason)
  }

  /** Why nothing more is to be expected of the guest; undefined while something is. */
  get over(): Error | undefined {
    return this.#waits.over
  }

  /** The guest starts again: waits wait again. */
  resume(): void {
    this.#waits.resume()
  }

  /** Ends all waits with `reason`, and reading. What has come stays readable. Safe to call again. */
  close(reason: Error = notConnected()): void {
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
      onDrawn: () => this.#waits.lookSoon(),
      onAnswer: (text) => this.#answer(text),
    })
    this.#log.onText((text) => terminal.push(text))
    const { raw } = this.#log
    await terminal.replay(raw.slice(Math.max(raw.start, raw.end - REPLAY_CHARS)))
    return terminal
  }

  /** Sends what a terminal answers to a question of the guest. A guest that does not read gets no more answers. */
  #answer(text: string): void {
    if ((this.#socket?.writableLength ?? 0) > MAX_UNREAD_ANSWERS) return
    this.#send(text).catch(() => {}) // the guest has gone away
  }

  /** The harness itself waits without a timeout where a start is bound as a whole. */
  #bound(longestMs: number): BoundWait {
    return boundWait(longestMs, Number.isFinite(longestMs) ? this.#waitLimit : () => Number.POSITIVE_INFINITY)
  }

  #toMatch({ match, start, end }: FoundPattern): SerialMatch {
    return { match, text: match[0], line: this.#log.lineAt(start), end: { offset: end } }
  }
}
