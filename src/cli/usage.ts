import type { Command } from 'commander'
import { nearestName } from '../common/nearest-name.js'

/** Returns a help text with examples. Each is a command line and its effect. */
export function formatExamples(examples: ReadonlyArray<readonly [line: string, effect: string]>): string {
  const width = Math.max(...examples.map(([line]) => line.length))
  return `\nExamples:\n${examples.map(([line, effect]) => `  ${line.padEnd(width)}  # ${effect}`).join('\n')}`
}

/**
 * Ends the program because of an invalid command line: prints the message, the usage of the command
 * and further lines.
 */
export function failUsage(command: Command, message: string, more: readonly string[] = []): never {
  const usage = `Usage: ${fullName(command)} ${command.usage()}`
  const lines = [
    `error: ${message}`,
    '',
    usage,
    ...more,
    '',
    `Run \`${fullName(command)} --help\` for details.`,
  ]
  command.error(lines.join('\n'))
}

/**
 * Makes a group of commands run `action` without the name of a command. Rejects an unknown name
 * with a suggestion.
 */
export function setDefaultAction(
  group: Command,
  action: (options: { json?: boolean }) => Promise<void>,
): void {
  group.allowExcessArguments().action(async (options: { json?: boolean }, self: Command) => {
    const [unknown] = self.args
    if (unknown === undefined) return action(options)
    const near = nearestName(
      unknown,
      group.commands.map((command) => command.name()),
    )
    self.error(`error: unknown command '${unknown}'${near === undefined ? '' : `\n(Did you mean ${near}?)`}`)
  })
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`
}
