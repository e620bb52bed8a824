import type { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import type { BoundWait } from '../../common/wait-limit.js'
import { captureCallSite } from '../../errors/call-site.js'
import { vmError } from '../../errors.js'
import { invalidConsoleOptionError } from './console-errors.js'
import type { ConsoleWaits } from './console-waits.js'
import { toLineRegExp } from './pattern-scan.js'
import type { ScreenTerminal } from './screen-terminal.js'

/** Options of `vm.serial.screen()`. */
export interface ScreenOptions {
  /** Number of columns, 2 to 1000. @default 80 */
  readonly columns?: number | undefined
  /** Number of rows, 1 to 1000. @default 24 */
  readonly rows?: number | undefined
  /**
   * If true, the terminal replies to queries of the guest (size, type, cursor position) as xterm
   * does. Some programs, such as `resize`, require it. The busybox shell also sends a query at each
   * prompt but does not wait for the reply, so the reply may end up after text that is typed
   * directly after a prompt.
   * @default false: reading the screen does not affect the guest.
   */
  readonly replies?: boolean | undefined
}

/** Options of `screen.waitFor()`. */
export interface ScreenWait {
  /**
   * Maximum time to wait. In Vitest, every wait ends before the timeout of its test.
   * @default '30s', on a slow host up to two minutes
   */
  readonly timeout?: Duration | undefined
  /** Aborts the wait. */
  readonly signal?: AbortSignal | undefined
}

/** Timeouts of the waits of a screen. */
export interface ScreenTimeouts {
  readonly defaultTimeout: Duration
  /** Shortens a wait so that it ends before its test. */
  bound(longestMs: number): BoundWait
}

/** Minimum sizes of the terminal library. The maximum rejects sizes that are certainly mistakes. */
const LIMITS = { columns: [2, 1000], rows: [1, 1000] } as const

/**
 * The serial console as a terminal shows it: menus, installers, editors. The screen is updated
 * continuously. A serial line does not transmit the size of the terminal: run
 * `stty rows 24 cols 80` in the guest to set it.
 */
export class SerialScreen {
  static {
    traceCalls(SerialScreen, 'screen', ['waitFor'])
  }

  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #terminal: ScreenTerminal
  readonly #waits: ConsoleWaits
  readonly #timeouts: ScreenTimeouts

  /** @internal */
  constructor(terminal: ScreenTerminal, waits: ConsoleWaits, timeouts: ScreenTimeouts) {
    this.#terminal = terminal
    this.#waits = waits
    this.#timeouts = timeouts
  }

  /**
   * Rows of the screen from the top, without trailing blanks. Blanks before the cursor are kept:
   * they end prompts.
   */
  get lines(): string[] {
    return this.#terminal.lines
  }

  /** Rows joined by line feeds, without the empty rows at the bottom. */
  get text(): string {
    return this.lines.join('\n').replace(/\n+$/, '')
  }

  /** Position of the cursor, counted from 0 at the top left. */
  get cursor(): { readonly row: number; readonly column: number } {
    return this.#terminal.cursor
  }

  /** Number of columns. */
  get columns(): number {
    return this.#terminal.columns
  }

  /** Number of rows. */
  get rows(): number {
    return this.#terminal.rows
  }

  /**
   * Waits until the screen shows a pattern and returns the match. `^` and `$` match at row
   * boundaries.
   *
   * @throws {GuestError} SERIAL_TIMEOUT with the complete screen when it does not show the pattern
   *   in time.
   * @example await screen.waitFor('Partition disks')
   */
  async waitFor(pattern: string | RegExp, options: ScreenWait = {}): Promise<RegExpExecArray> {
    const timeout = options.timeout ?? this.#timeouts.defaultTimeout
    const longest = parseDuration(timeout)
    if (longest === undefined)
      throw invalidConsoleOptionError('screen.waitFor', 'timeout', timeout, "a duration such as '30s' or 500")
    if (pattern === '')
      throw invalidConsoleOptionError('screen.waitFor', 'pattern', pattern, 'a non-empty string or a RegExp')
    const regexp = toLineRegExp(pattern)
    const find = () => {
      regexp.lastIndex = 0
      return regexp.exec(this.text) ?? undefined
    }
    const wait = this.#timeouts.bound(longest)
    const onTimeout = () => this.#timeoutError(pattern, wait)
    return this.#waits.until(find, { timeoutMs: wait.timeoutMs, signal: options.signal, onTimeout })
  }

  #timeoutError(pattern: string | RegExp, { timeoutMs, hint }: BoundWait): Error {
    const { text } = this
    const { row, column } = this.cursor
    return vmError('SERIAL_TIMEOUT', {
      summary: `The screen of the serial console did not show the pattern within ${formatDuration(timeoutMs)}.`,
      expected: typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern),
      got:
        text === '' ? 'an empty screen' : `the screen below, with the cursor at row ${row}, column ${column}`,
      evidence: [{ label: `Screen, ${this.columns} x ${this.rows}`, text }],
      hint:
        hint ??
        (text === ''
          ? 'Let the guest write to its serial port (kernel command line: console=ttyS0).'
          : 'Compare the pattern with the screen: text may be cut off at the right edge or scrolled away.'),
    })
  }
}

/**
 * Returns `size` if it is a supported number of columns or rows.
 *
 * @throws {UsageError} INVALID_OPTIONS when it is not.
 */
export function checkSize(name: 'columns' | 'rows', size: number): number {
  const [min, max] = LIMITS[name]
  if (Number.isInteger(size) && size >= min && size <= max) return size
  throw vmError('INVALID_OPTIONS', {
    summary: `serial.screen() does not support this number of ${name}.`,
    expected: `an integer from ${min} to ${max}`,
    got: String(size),
    hint: 'Use the size of a common terminal: 80 columns and 24 rows.',
  })
}

/** Members of a screen that a promise of a screen does not have. */
const MEMBERS = ['lines', 'text', 'cursor', 'columns', 'rows', 'waitFor'] as const satisfies Array<
  keyof SerialScreen
>

/**
 * Makes accesses to members of the screen on its promise throw an error that names the missing
 * `await`.
 */
export function requireAwait(screen: Promise<SerialScreen>): Promise<SerialScreen> {
  for (const name of MEMBERS) {
    const get = () => {
      const error = vmError('INVALID_OPTIONS', {
        summary: `serial.screen() was used without \`await\`: a promise has no \`${name}\`.`,
        expected: 'the screen to which the promise resolves',
        hint: 'Write `const screen = await vm.serial.screen()`.',
      })
      throw error.locate(captureCallSite(get))
    }
    Object.defineProperty(screen, name, { get })
  }
  return screen
}
