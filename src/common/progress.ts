import { formatDuration } from './duration.js'

/** Tells the person at the terminal what takes so long. */
export interface Progress {
  /** @param amount how far the step has come, as `120 MiB of 1 GiB`: shown on a terminal only */
  report(step: string, amount?: string): void
  /** Ends the line. `result` is shown only if anything was. */
  end(result?: string): void
}

const QUIET_MS = 1000

/**
 * Shows the steps of something slow: on a terminal one line that is rewritten, elsewhere a line per step.
 * Nothing is shown of what takes less than a second.
 */
export function createProgress(
  subject: string,
  output: { readonly isTTY?: boolean; write(text: string): unknown } = process.stderr,
): Progress {
  const startedAt = performance.now()
  let shown = false
  let latest = ''
  let latestAmount = ''
  const show = (): void => {
    shown = true
    const line = `withvm: ${subject}: ${latest}`
    output.write(output.isTTY ? `\r\x1b[2K${line}${latestAmount} …` : `${line}\n`)
  }
  const timer = setTimeout(show, QUIET_MS)
  timer.unref()
  return {
    report(step, amount) {
      const isNew = step !== latest
      latest = step
      latestAmount = amount === undefined ? '' : `, ${amount}`
      if (shown && (isNew || output.isTTY)) show()
    },
    end(result) {
      clearTimeout(timer)
      if (!shown) return
      const taken = formatDuration(performance.now() - startedAt)
      const line = result === undefined ? '' : `withvm: ${subject}: ${result} (${taken})`
      if (output.isTTY) output.write(`\r\x1b[2K${line === '' ? '' : `${line}\n`}`)
      else if (line !== '') output.write(`${line}\n`)
    },
  }
}
