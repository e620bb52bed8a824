import type { SerialMark } from '../../channel/serial/serial-console.js'
import { quoteWord } from '../../common/process/shell-quote.js'
import { vmError } from '../../errors.js'
import type { LoginOptions } from '../../spec/options.js'
import type { Machine } from '../machine/machine.js'

/**
 * Maximum number of attempts at a command whose output is incomplete: kernel messages may interrupt
 * it.
 */
const MAX_ATTEMPTS = 3
/** Timeout of one attempt on a host with KVM, in milliseconds. */
const ATTEMPT_TIMEOUT_MS = 10_000
/** Public host key as printed on a console. */
const HOST_KEY = /(ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa) (AAAA[A-Za-z0-9+/]+={0,2})/g
const HOST_KEY_FILES = '/etc/ssh/ssh_host_*_key.pub'
const PREFERRED_TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa']

/**
 * Logs in on the serial console. If the guest has SSH, installs the run's key for its user, reads
 * the guest's host key and logs out. All commands work in any shell and may be repeated.
 *
 * @returns the guest's host key; undefined if it has none.
 * @throws {GuestError} LOGIN_FAILED, KEY_NOT_INSTALLED.
 */
export async function logInOnConsole(
  machine: Machine,
  login: LoginOptions,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const { serial, identity, spec } = machine
  const { keys } = identity
  const { wasLoggedIn } = await serial.login({ ...login, timeout: Number.POSITIVE_INFINITY, signal })
  if (spec.ssh === undefined) return undefined
  if (keys !== undefined) {
    await installKey(machine, login, { user: spec.ssh.user, publicKey: keys.client.publicKey }, signal)
  }
  const hostKey = await readHostKey(machine, signal)
  if (!wasLoggedIn) await serial.type('exit\n')
  return hostKey
}

async function installKey(
  machine: Machine,
  login: LoginOptions,
  { user, publicKey }: { readonly user: string; readonly publicKey: string },
  signal: AbortSignal,
): Promise<void> {
  const script = installScript(publicKey)
  const isOther = user !== login.user
  const command = isOther ? runAs(user, login.user, script) : script
  const { text, status } = await runOnConsole(machine, command, { password: login.password, signal })
  if (status === 0) return
  throw vmError('KEY_NOT_INSTALLED', {
    summary: `The SSH key of this run could not be installed for the user '${user}' through the serial console.`,
    got: status === undefined ? 'no response' : `exit code ${status}`,
    evidence: [{ label: 'Serial console since the command was typed', text: text.trim().slice(-2000) }],
    hint: isOther
      ? `Allow ${login.user} to run commands as ${user} with sudo, and give ${user} a shell; or omit \`ssh.user\` to use ${login.user}.`
      : 'Check the output above: is the disk mounted read-write, and does the user have a home directory?',
  })
}

/**
 * Returns the command that runs a script as another user. Root uses `su`, because a small system
 * may lack `sudo`.
 */
function runAs(user: string, from: string, script: string): string {
  const quoted = quoteWord(script)
  return from === 'root'
    ? `su -l ${quoteWord(user)} -c ${quoted}`
    : `sudo -p withvm-"password:" -H -u ${quoteWord(user)} sh -c ${quoted}`
}

/** Returns the script that installs a key. It contains no quotes, which would have to be nested. */
function installScript(publicKey: string): string {
  const file = '.ssh/authorized_keys'
  return [
    'umask 077',
    // A non-login shell has no HOME.
    'eval cd ~$(id -un) && mkdir -p .ssh && chmod 700 .ssh',
    `{ grep -qs ${publicKey.split(' ')[1]?.slice(-40)} ${file} || echo ${publicKey} >>${file}; }`,
    `chmod 600 ${file}`,
    '{ command -v restorecon >/dev/null && restorecon -R .ssh || true; }',
    'sync',
  ].join(' && ')
}

/**
 * Reads and decodes the guest's best OpenSSH host key. If it has none, returns undefined, and the
 * first key that the server shows is trusted.
 */
async function readHostKey(machine: Machine, signal: AbortSignal): Promise<Buffer | undefined> {
  const { text } = await runOnConsole(machine, `cat ${HOST_KEY_FILES} 2>/dev/null; true`, { signal })
  const found = [...text.matchAll(HOST_KEY)].flatMap(([, type = '', encoded = '']) => {
    const key = Buffer.from(encoded, 'base64')
    return isCompleteKey(key, type) ? [{ type, key }] : []
  })
  return PREFERRED_TYPES.flatMap((type) => found.find((one) => one.type === type)?.key ?? [])[0]
}

/** Validates the wire format of a key: length-prefixed strings, the first of which is its type. */
function isCompleteKey(key: Buffer, type: string): boolean {
  let at = 0
  let parts = 0
  while (at + 4 <= key.length) {
    const length = key.readUInt32BE(at)
    if (parts === 0 && key.toString('latin1', at + 4, at + 4 + length) !== type) return false
    at += 4 + length
    parts++
  }
  return parts > 1 && at === key.length
}

interface Answer {
  /** Console output since the command was typed. */
  readonly text: string
  readonly status: number | undefined
}

/**
 * Runs a command in the shell on the console, with retries, and types the password if `sudo`
 * prompts for it.
 */
async function runOnConsole(
  machine: Machine,
  command: string,
  { password, signal }: { readonly password?: string | undefined; readonly signal: AbortSignal },
): Promise<Answer> {
  const { serial } = machine
  // The quotes distinguish the echoed command from its output. `sh -c` also works in other kinds of
  // shells.
  const line = `sh -c ${quoteWord(`${command}; echo; echo withvm-"done" $?`)}\n`
  let mark: SerialMark = serial.mark()
  for (let tries = 1; tries <= MAX_ATTEMPTS; tries++) {
    mark = serial.mark()
    await serial.type(line)
    const status = await readStatus(machine, mark, { password, signal })
    if (status !== undefined) return { text: serial.since(mark), status }
  }
  return { text: serial.since(mark), status: undefined }
}

async function readStatus(
  machine: Machine,
  mark: SerialMark,
  { password, signal }: { readonly password?: string | undefined; readonly signal: AbortSignal },
): Promise<number | undefined> {
  let from = mark
  const timeout = ATTEMPT_TIMEOUT_MS * machine.host.timeFactor
  const pattern = /withvm-(?:done (\d+)\s|password:$)/m
  for (;;) {
    const found = await machine.serial.waitFor(pattern, { from, timeout, signal }).catch((error) => {
      signal.throwIfAborted()
      if (error.code === 'SERIAL_TIMEOUT') return undefined
      throw error
    })
    if (found === undefined) return undefined
    const status = found.match[1]
    if (status !== undefined) return Number(status)
    from = found.end
    if (password === undefined) await machine.serial.press('Ctrl-C')
    else await machine.serial.type(`${password}\n`)
  }
}
