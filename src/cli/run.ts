import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { renderCommand } from '../common/shell-quote.js'
import { launchVM } from '../launch/launch.js'
import { type GuestFlags, readGuestFlags } from './guest-options.js'

/**
 * Runs one command in a fresh guest with this process's streams, and gives its exit code: 128 and the number
 * of the signal if one ended it, as shells have it.
 */
export async function runCommand(
  image: string,
  command: readonly string[],
  flags: GuestFlags,
): Promise<number> {
  const options = readGuestFlags(image, flags, (path) => readFileSync(path, 'utf8'))
  await using vm = await launchVM(options)
  const { exitCode, signal } = await vm.ssh(commandText(command), {
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
