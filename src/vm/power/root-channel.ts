import type { SerialMark } from '../../channel/serial/serial-console.js'
import type { SshClient } from '../../channel/ssh/ssh-client.js'
import { vmError } from '../../errors.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Machine } from '../machine/machine.js'
import { isReadyOverSsh } from './readiness.js'
import type { SshAccess } from './ssh-access.js'

/** Command that reads a script from its standard input and runs it as root. */
const SHELL = 'sh'
const SUDO_SHELL = 'sudo -n sh'
/** Part of a script that is typed at a time: the guest's terminal buffers 4096 characters. */
const TYPED_CHARS = 1000
/** Maximum number of attempts to type a script: kernel messages do not disturb it, overruns do. */
const MAX_ATTEMPTS = 3
/** Character that ends the standard input on a terminal. */
const END_OF_INPUT = '\u0004'

/** Runs shell scripts as root in a guest. */
export interface RootChannel {
  /** Runs a script for `sh` and returns its standard output. Its exit code is ignored. */
  run(script: string, wait: RunWait): Promise<string>
  /** Closes the connection to the guest, which its clones could not use. */
  close(): void
}

interface RunWait {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Returns true if the options of a guest describe a channel that may reach root. */
export function hasRootChannel(spec: MachineSpec): boolean {
  return isReadyOverSsh(spec) || spec.ready === 'agent' || spec.login !== undefined
}

/**
 * Opens a channel through which scripts run as root: SSH, the QEMU guest agent, or a login on the
 * serial console. Users other than root need `sudo` without a password.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when no channel reaches root.
 */
export async function openRootChannel(
  machine: Machine,
  access: SshAccess,
  signal: AbortSignal,
): Promise<RootChannel> {
  const { ready, login } = machine.spec
  if (ready === 'agent') return { run: (script, wait) => runByAgent(machine, script, wait), close: () => {} }
  if (isReadyOverSsh(machine.spec)) {
    const channel = await openSsh(await access.client(undefined, signal), access, signal)
    if (channel !== undefined) return channel
  }
  if (login !== undefined)
    return {
      run: (script, wait) => runOnConsole(machine, script, wait),
      close: () => access.close('the guest is saved'),
    }
  throw noRootError(machine.spec.ssh?.user ?? 'root')
}

async function openSsh(
  client: SshClient,
  access: SshAccess,
  signal: AbortSignal,
): Promise<RootChannel | undefined> {
  const { stdout, exitCode } = await client.exec('id -u && sudo -n true', { reject: false, signal })
  const isRoot = stdout.split('\n')[0] === '0'
  if (!isRoot && exitCode !== 0) return undefined
  return {
    run: async (script, { timeoutMs, signal }) => {
      const options = { stdin: script, timeout: timeoutMs, reject: false, signal } as const
      return (await client.exec(isRoot ? SHELL : SUDO_SHELL, options)).stdout
    },
    close: () => access.close('the guest is saved'),
  }
}

async function runByAgent(
  { agent }: Machine,
  script: string,
  { timeoutMs, signal }: RunWait,
): Promise<string> {
  return (await agent.exec(SHELL, { stdin: script, timeout: timeoutMs, reject: false, signal })).stdout
}

/** Types a script on the console, without its echo. An incomplete script does nothing. */
async function runOnConsole(machine: Machine, script: string, wait: RunWait): Promise<string> {
  const { serial, spec } = machine
  const { signal, timeoutMs } = wait
  const login = spec.login as NonNullable<typeof spec.login>
  const { wasLoggedIn } = await serial.login({ ...login, timeout: timeoutMs, signal })
  const shell = login.user === 'root' ? SHELL : SUDO_SHELL
  let mark: SerialMark = serial.mark()
  for (let tries = 1; tries <= MAX_ATTEMPTS; tries++) {
    mark = serial.mark()
    // The quotes distinguish the echoed command from its output.
    await serial.type(`stty -echo; echo withvm-"reads"; cat | ${shell}; stty echo; echo withvm-"done"\n`)
    await serial.waitFor(/withvm-reads\s/, { from: mark, timeout: timeoutMs, signal })
    for (let at = 0; at < script.length; at += TYPED_CHARS)
      await serial.type(script.slice(at, at + TYPED_CHARS))
    await serial.type(END_OF_INPUT)
    await serial.waitFor(/withvm-done\s/, { from: mark, timeout: timeoutMs, signal })
    if (serial.since(mark).includes('withvm: ')) break
  }
  if (!wasLoggedIn && spec.ssh !== undefined) await serial.type('exit\n')
  return serial.since(mark)
}

function noRootError(user: string) {
  return vmError('SAVE_UNSUPPORTED', {
    summary: `The user '${user}' cannot become root in the guest, so its clones cannot get their own identity.`,
    hint: `Let ${user} run \`sudo\` without a password, set \`login: { user: 'root', … }\`, or set \`start: 'cold'\`.`,
  })
}
