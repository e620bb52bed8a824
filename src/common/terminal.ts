/** Returns true if standard input and output are terminals. */
export function hasTerminal(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true
}
