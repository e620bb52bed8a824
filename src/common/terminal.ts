/** Whether a person reads what this process writes, and can type for it. */
export function hasTerminal(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true
}
