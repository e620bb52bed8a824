/** Writes a message of withvm to stderr. Default of the option `log`. */
export function logToStderr(message: string): void {
  process.stderr.write(`withvm: ${message}\n`)
}
