import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import type { BoundWait } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'
import { unusable } from './console-errors.js'
import type { ConsoleWaits } from './console-waits.js'
import { toLineRegExp } from './pattern-scan.js'
import type { ScreenTerminal } from './screen-terminal.js'

export interface ScreenOptions {
  /** 2 to 1000. @default 80 */
  readonly columns?: number
  /** 1 to 1000. @default 24 */
  readonly rows?: number
  /**
   * Answers what the guest asks of its terminal (its size, its kind, where the cursor is), as xterm does. Some
   * programs need it, as `resize` does. But busybox' shell asks at each prompt too, and does not wait: what is
   * typed at once after a prompt may then have the answer behind it.
   * @default false: looking at the screen changes nothing.
   */
  readonly answers?: boolean
}

export interface ScreenWait {
  /** How long to wait at most. In Vitest, every wait ends before its test does. @default '30s', on a slow host up to two minutes */
  readonly timeout?: Duration
  readonly signal?: AbortSignal | undefined
}

/** How long the waits of a screen take. */
export interface ScreenTimeouts {
  readonly defaultTimeout: Duration
  /** Ends a wait before its test. */
  bound(longestMs: number): BoundWait
}

/** The terminal's library takes no fewer; more than a thousand is a mistake. */
const LIMITS = { columns: [2, 1000], rows: [1, 1000] } as const

/**
 * The serial console as a terminal shows it: menus, installers, editors. It follows the guest by itself. A serial
 * line does not tell the guest how large its terminal is: `stty rows 24 cols 80`, run in the guest, does.
 */
export class SerialScreen {
  readonly #terminal: ScreenTerminal
  readonly #waits: ConsoleWaits
  readonly #timeouts: ScreenTimeouts

  constructor(terminal: ScreenTerminal, waits: ConsoleWaits, timeouts: ScreenTimeouts) {
    this.#terminal = terminal
    this.#waits = waits
    this.#timeouts = timeouts
  }

  /**
   * The rows of the screen from the top, without the blanks at their ends; those before the cursor stay, so that
   * a prompt is whole.
   */
  get lines(): string[] {
    return this.#terminal.lines
  }

  /** The rows as one text, without the empty ones at the bottom. */
  get text(): string {
    return this.lines.join('\n').replace(/\n+$/, '')
  }

  /** Where the cursor is; both count from 0 at the top left. */
  get cursor(): { readonly row: number; readonly column: number } {
    return this.#terminal.cursor
  }

  get columns(): number {
    return this.#terminal.columns
  }

  get rows(): number {
    return this.#terminal.rows
  }

  /**
   * Waits until the screen shows a pattern; `^` and `$` match at the bounds of rows. Gives the match.
   *
   * @throws {GuestError} SERIAL_TIMEOUT with the whole screen when it does not in time.
   * @example await screen.waitFor('Partition disks')
   */
  async waitFor(pattern: string | RegExp, options: ScreenWait = {}): Promise<RegExpExecArray> {
    const timeout = options.timeout ?? this.#timeouts.defaultTimeout
    const longest = parseDuration(timeout)
    if (longest === undefined)
      throw unusable('screen.waitFor', 'timeout', timeout, "a duration, as '30s' or 500")
    if (pattern === '')
      throw unusable('screen.waitFor', 'pattern', pattern, 'a text that is not empty, or a RegExp')
    const regexp = toLineRegExp(pattern)
    const look = () => {
      regexp.lastIndex = 0
      return regexp.exec(this.text) ?? undefined
    }
    const wait = this.#timeouts.bound(longest)
    const onTimeout = () => this.#timeoutError(pattern, wait)
    return this.#waits.until(look, { timeoutMs: wait.timeoutMs, signal: options.signal, onTimeout })
  }

  #timeoutError(pattern: string | RegExp, { timeoutMs, hint }: BoundWait): Error {
    const { text } = this
    const { row, column } = this.cursor
    return vmError('SERIAL_TIMEOUT', {
      summary: `the screen of the serial console did not show a pattern within ${formatDuration(timeoutMs)}`,
      expected: typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern),
      got: text === '' ? 'an empty screen' : `the screen below, its cursor at row ${row}, column ${column}`,
      evidence: [{ label: `Screen, ${this.columns} x ${this.rows}`, text }],
      hint:
        hint ??
        (text === ''
          ? 'Let the guest write to its serial port (kernel command line: console=ttyS0).'
          : 'Compare the pattern with the screen: a text may be cut at the right edge, or have scrolled away.'),
    })
  }
}

/**
 * Gives the number of columns or rows.
 *
 * @throws {UsageError} INVALID_OPTIONS when no terminal has that many.
 */
export function checkSize(name: 'columns' | 'rows', size: number): number {
  const [least, most] = LIMITS[name]
  if (Number.isInteger(size) && size >= least && size <= most) return size
  throw vmError('INVALID_OPTIONS', {
    summary: `serial.screen() got a number of ${name} that it cannot have`,
    expected: `a whole number from ${least} to ${most}`,
    got: String(size),
    hint: 'A usual terminal has 80 columns and 24 rows.',
  })
}

/** What a screen has, and a promise of one has not. */
const MEMBERS = ['lines', 'text', 'cursor', 'columns', 'rows', 'waitFor'] as const satisfies Array<
  keyof SerialScreen
>

/** Makes the use of a promise as the screen itself an error that says what is missing. */
export function requireAwait(screen: Promise<SerialScreen>): Promise<SerialScreen> {
  for (const name of MEMBERS) {
    const get = () => {
      throw vmError('INVALID_OPTIONS', {
        summary: `serial.screen() was used without \`await\`: a promise has no \`${name}\`.`,
        expected: 'the screen that the promise resolves to',
        hint: 'Write `const screen = await vm.serial.screen()`.',
      })
    }
    Object.defineProperty(screen, name, { get })
  }
  return screen
}
