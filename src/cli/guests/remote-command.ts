import { constants } from 'node:os'
import type { CommandOptions, CommandResult } from '../../channel/command-result.js'
import { renderCommand } from '../../common/process/shell-quote.js'

/**
 * Runs a command in a guest with the streams of this process. Returns its exit code, or 128 plus
 * the signal number if a signal terminated it, as in a shell.
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

/**
 * Returns a single word as a command line for the guest's shell, and several words as a quoted
 * program with arguments.
 */
function commandText(command: readonly string[]): string {
  return command.length === 1 ? (command[0] as string) : renderCommand(['', ''], command)
}
