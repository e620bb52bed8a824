import type { SerialMark, SerialMatch } from '../../../channel/serial/serial-console.js'
import { VMError } from '../../../errors.js'
import type { Check } from './check.js'

/** What is printed along with a loss, the rest of a panic's trace, may be what is waited for. Milliseconds. */
const LOSS_GRACE_MS = 300

export interface SerialExpectation {
  /**
   * A mark, the first byte since the guest was switched on for the first time, or what comes once the check is
   * first run.
   * @default 'start'
   */
  readonly from?: SerialMark | 'start' | 'now'
}

/** The serial console shows a text, or something that matches. */
export function serialShows(
  pattern: string | RegExp,
  { from = 'start' }: SerialExpectation = {},
): Check<SerialMatch> {
  let mark = from
  return {
    expected: `the serial console to show ${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern}`,
    lossGraceMs: LOSS_GRACE_MS,
    run: async (vm, signal, patience) => {
      if (mark === 'now') mark = vm.serial.mark()
      const timeout = patience?.until ? Math.max(1, patience.holdMs) : 1
      try {
        const value = await vm.serial.waitFor(pattern, { from: mark, timeout, signal })
        return { isMet: true, received: `the line ${JSON.stringify(value.line)}`, value }
      } catch (error) {
        if (!(error instanceof VMError) || error.code !== 'SERIAL_TIMEOUT') throw error
        const line = vm.serial.tail(1)[0]
        const received = line === undefined ? 'nothing printed' : `as its last line ${JSON.stringify(line)}`
        return { isMet: false, received }
      }
    },
  }
}
