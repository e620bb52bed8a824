import { constants } from 'node:os'
import type { CommandOptions, CommandResult } from '../channel/command-result.js'
import { renderCommand } from '../common/process/shell-quote.js'

/**
 * Runs a command in a guest with this process's streams, and gives its exit code: 128 and the number of the signal
 * if one ended it, as shells have it.
 */
export async function passThrough(
  run: (command: string, options: CommandOptions) => Promise<CommandResult>,
  command: readonly string[],
): Promise<number> {
  const { exitCode, signal } = await run(commandText(command), {
    reject: false,
    collect: false,
    stdout: process.stdout,
    stderr: process.stderr,
    ...(process.stdin.isTTY ? {} : { stdin: process.stdin }),
  })
  if (exitCode !== undefined) return exitCode
  return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
}

/** One word is a line for the guest's shell; several are a program and its arguments, each kept as it is. */
function commandText(command: readonly string[]): string {
  return command.length === 1 ? (command[0] as string) : renderCommand(['', ''], command)
}
