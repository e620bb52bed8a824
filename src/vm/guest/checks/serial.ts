import type { SerialMark, SerialMatch } from '../../../channel/serial/serial-console.js'
import { VMError } from '../../../errors.js'
import type { Check } from './check.js'

/**
 * Time for output that follows the guest's loss, such as a panic's trace, to match. Milliseconds.
 */
const LOSS_GRACE_MS = 300

/** Settings of `checks.serialShows()`. */
export interface SerialExpectation {
  /**
   * Position at which the search starts: a mark, the first byte of the first power-on (`'start'`),
   * or the position at the first run of the check (`'now'`).
   * @default 'start'
   */
  readonly from?: SerialMark | 'start' | 'now' | undefined
}

/**
 * Met if the serial console printed a string or a match.
 * @example checks.serialShows(/login: $/, { from: 'now' })
 */
export function serialShows(
  pattern: string | RegExp,
  { from = 'start' }: SerialExpectation = {},
): Check<SerialMatch> {
  let mark = from
  return {
    expected: `the serial console to show ${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern}`,
    lossGraceMs: LOSS_GRACE_MS,
    run: async (vm, signal, longPoll) => {
      if (mark === 'now') mark = vm.serial.mark()
      const timeout = longPoll?.until ? Math.max(1, longPoll.holdMs) : 1
      try {
        const value = await vm.serial.waitFor(pattern, { from: mark, timeout, signal })
        return { isMet: true, received: `the line ${JSON.stringify(value.line)}`, value }
      } catch (error) {
        if (!(error instanceof VMError) || error.code !== 'SERIAL_TIMEOUT') throw error
        const line = vm.serial.tail(1)[0]
        const received =
          line === undefined ? 'nothing printed' : `other output; the last line is ${JSON.stringify(line)}`
        return { isMet: false, received }
      }
    },
  }
}
