import type { CommandResult } from '../../../channel/command-result.js'
import { matchText } from '../../../common/match-text.js'
import type { GuestHandle } from '../guest-handle.js'
import type { Check } from './check.js'
import { formatText } from './format-text.js'

/**
 * Met if a command exits with code 0.
 * @example checks.commandSucceeds('systemctl is-active nginx')
 */
export function commandSucceeds(command: string): Check<CommandResult> {
  return commandFailsWith(command, 0)
}

/**
 * Met if a command exits with this code.
 * @example checks.commandFailsWith('grep -q error /var/log/app.log', 1)
 */
export function commandFailsWith(command: string, exitCode: number): Check<CommandResult> {
  return {
    expected: `\`${command}\` to ${exitCode === 0 ? 'succeed' : `fail with exit code ${exitCode}`}`,
    run: async (vm, signal) => {
      const value = await runCommand(vm, command, signal)
      return { isMet: value.exitCode === exitCode, received: describeResult(value), value }
    },
  }
}

/**
 * Met if a command exits with this code (default 0) and its stdout contains a string or matches a
 * pattern.
 * @example checks.commandPrints('redis-cli ping', 'PONG')
 */
export function commandPrints(
  command: string,
  expected: string | RegExp,
  { exitCode = 0 }: { readonly exitCode?: number | undefined } = {},
): Check<CommandResult> {
  return {
    expected: `\`${command}\` to print ${formatText(expected)}${exitCode === 0 ? '' : ` and exit with code ${exitCode}`}`,
    run: async (vm, signal) => {
      const value = await runCommand(vm, command, signal)
      const isMet = value.exitCode === exitCode && matchText(value.stdout, expected)
      const received =
        value.exitCode === exitCode
          ? formatText(value.stdout)
          : `${describeResult(value)}, stdout ${formatText(value.stdout)}`
      return { isMet, received, value }
    },
  }
}

function runCommand(vm: GuestHandle, command: string, signal: AbortSignal): Promise<CommandResult> {
  const options = { reject: false, signal }
  return vm.commandChannel === 'ssh' ? vm.ssh(command, options) : vm.exec(command, options)
}

function describeResult({ exitCode, signal, stderr }: CommandResult): string {
  const end = exitCode === undefined ? `signal ${signal}` : `exit code ${exitCode}`
  return stderr === '' ? end : `${end}, stderr ${formatText(stderr)}`
}
