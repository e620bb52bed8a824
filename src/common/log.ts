import { toSafeLine } from '../errors/safe-text.js'

/** Receives progress messages, one line each. */
export type Log = (line: string) => void

/**
 * Creates a log that passes lines on to `write`. Messages can contain text of a guest, an image or
 * a server, so each becomes one short line without control characters.
 */
export function createLog(write: Log): Log {
  return (line) => write(toSafeLine(line))
}

/** Writes a message of withvm to stderr. Default of the option `log`. */
export const logToStderr: Log = createLog((line) => void process.stderr.write(`withvm: ${line}\n`))

/** Logs a text of several lines. */
export function logLines(log: Log, text: string): void {
  for (const line of text.split('\n')) log(line)
}
