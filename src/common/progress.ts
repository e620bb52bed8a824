import { toSafeLine } from '../errors/safe-text.js'
import { formatDuration } from './duration.js'

/** Shows the progress of a slow operation. */
export interface Progress {
  /**
   * @param amount progress of the step, for example `120 MiB of 1 GiB`
   */
  report(step: string, amount?: string): void
  /** Ends the line. `result` is shown only if something was shown before. */
  end(result?: string): void
}

const DELAY_MS = 1000
/** Minimum interval between two amounts of the same step, in milliseconds. */
const TERMINAL_INTERVAL_MS = 100
const LOG_INTERVAL_MS = 5000

/**
 * Shows the steps of a slow operation: on a terminal in one line that is rewritten, elsewhere in a
 * line for each step and every 5 s for its amount. Shows nothing during the first second.
 */
export function createProgress(
  subject: string,
  output: { readonly isTTY?: boolean; write(text: string): unknown } = process.stderr,
): Progress {
  const startedAt = performance.now()
  let isDue = false
  let shown = false
  let latest = ''
  let latestAmount = ''
  let shownAt = 0
  let shownText = ''
  const intervalMs = output.isTTY ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS
  const show = (): void => {
    isDue = true
    const text = `${latest}${latestAmount}`
    if (latest === '' || text === shownText) return
    shown = true
    shownAt = performance.now()
    shownText = text
    const line = toSafeLine(`withvm: ${subject}: ${text}${output.isTTY ? ' …' : ''}`)
    output.write(output.isTTY ? `\r\x1b[2K${line}` : `${line}\n`)
  }
  const timer = setTimeout(show, DELAY_MS)
  timer.unref()
  return {
    report(step, amount) {
      const isNew = step !== latest
      latest = step
      latestAmount = amount === undefined ? '' : `, ${amount}`
      if (isDue && (isNew || performance.now() - shownAt >= intervalMs)) show()
    },
    end(result) {
      clearTimeout(timer)
      if (!shown) return
      const duration = formatDuration(performance.now() - startedAt)
      const line = result === undefined ? '' : toSafeLine(`withvm: ${subject}: ${result} (${duration})`)
      if (output.isTTY) output.write(`\r\x1b[2K${line === '' ? '' : `${line}\n`}`)
      else if (line !== '') output.write(`${line}\n`)
    },
  }
}
