import { type CommandOptions, type CommandResult, nameCommand } from '../../channel/command-result.js'
import type { ShellOptions, ShellSession } from '../../channel/ssh/shell-session.js'
import type { SshClient, SshExecOptions } from '../../channel/ssh/ssh-client.js'
import type { Calls } from '../../common/calls/calls.js'
import { type CommandArgument, renderCommand } from '../../common/process/shell-quote.js'
import { vmError } from '../../errors.js'

/** Options of `vm.ssh()`. */
export interface SshCommandOptions extends SshExecOptions {
  /** Logs in as this user, with the same key or password. @default the guest's user */
  readonly user?: string | undefined
}

/** `vm.ssh`: a template tag that quotes its arguments, and a function with options. */
export interface Ssh {
  /** Runs the text of the template. Each interpolated argument is quoted for the shell. */
  (strings: TemplateStringsArray, ...args: readonly CommandArgument[]): Promise<CommandResult>
  /** Runs a command line of the shell, and returns stdout and stderr as buffers. */
  (
    command: string,
    options: SshCommandOptions & { readonly encoding: 'buffer' },
  ): Promise<CommandResult<Buffer>>
  /** Runs a command line of the shell with options. Nothing is quoted. */
  (command: string, options?: SshCommandOptions): Promise<CommandResult>
  /** Opens an interactive shell with a pseudo-terminal. */
  shell(options?: ShellOptions & { readonly user?: string | undefined }): Promise<ShellSession>
}

/** Work on an open connection. The signal aborts when the guest is lost or the caller aborts. */
export type UseClient<T> = (client: SshClient, signal: AbortSignal) => Promise<T>

type WithClient = <T>(
  use: UseClient<T>,
  user: string | undefined,
  signal: AbortSignal | undefined,
  /** Command that `use` runs, if it runs one. */
  command?: string,
) => Promise<T>

interface SshSettings {
  readonly timeoutMs: number | undefined
  readonly calls: Calls
}

/** Creates `vm.ssh`. */
export function createSsh(withClient: WithClient, { timeoutMs, calls }: SshSettings): Ssh {
  const run = (command: string, { user, signal, ...options }: SshCommandOptions = {}) => {
    const timeout: Pick<CommandOptions, 'timeout'> = timeoutMs === undefined ? {} : { timeout: timeoutMs }
    return withClient(
      (client, either) => client.exec(command, { ...timeout, ...options, signal: either }),
      user,
      signal,
      command,
    )
  }
  const start = async (first: TemplateStringsArray | string, ...rest: readonly unknown[]) => {
    if (typeof first === 'string') return run(first, rest[0] as SshCommandOptions | undefined)
    if (Array.isArray(first)) return run(renderCommand(first, ...(rest as CommandArgument[])))
    throw vmError('INVALID_OPTIONS', {
      summary: '`vm.ssh` was called without a command.',
      expected: 'a template, or a string and options',
      got: first === null ? 'null' : `a value of type ${typeof first}`,
      hint: 'Write vm.ssh`command` or vm.ssh(command, options).',
    })
  }
  const call = (...args: Parameters<typeof start>) => {
    const describe = () => `vm.ssh${nameCommand(commandText(args))}`
    return calls.run({ describe, entry: call }, () => start(...args))
  }
  const shell: Ssh['shell'] = ({ user, signal, ...options } = {}) =>
    calls.run({ describe: () => 'vm.ssh.shell()', entry: shell }, () =>
      withClient((client, either) => client.shell({ ...options, signal: either }), user, signal),
    )
  return Object.assign(call, { shell }) as Ssh
}

/** Returns the command of a call for a message. */
function commandText([first, ...rest]: readonly unknown[]): string {
  if (!Array.isArray(first)) return String(first)
  return first.map((text, index) => `${text}${index < rest.length ? String(rest[index]) : ''}`).join('')
}
