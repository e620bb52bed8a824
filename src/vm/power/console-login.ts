import type { SerialMark } from '../../channel/serial/serial-console.js'
import { quoteWord } from '../../common/process/shell-quote.js'
import { vmError } from '../../errors.js'
import type { LoginOptions } from '../../spec/options.js'
import type { Machine } from '../machine/machine.js'

/** How often a command is typed again whose output does not come whole: kernel messages may come in between. */
const TRIES = 3
/** How long its output may take, on a host with KVM, milliseconds. */
const ANSWER_MS = 10_000
/** What a console prints of a host key, the best first. */
const HOST_KEY = /(ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa) (AAAA[A-Za-z0-9+/]+={0,2})/g
const HOST_KEY_FILES = '/etc/ssh/ssh_host_*_key.pub'
const BEST_FIRST = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa']

/**
 * Logs in on the serial console. Where there is SSH, installs the key of the run for its user, learns the guest's host key,
 * and logs out; all that is typed works in any shell, and may be typed again.
 *
 * @throws {GuestError} LOGIN_FAILED, KEY_NOT_INSTALLED.
 */
export async function enterByConsole(
  machine: Machine,
  login: LoginOptions,
  signal: AbortSignal,
): Promise<void> {
  const { serial, keys, spec } = machine
  const { wasLoggedIn } = await serial.login({ ...login, timeout: Number.POSITIVE_INFINITY, signal })
  if (spec.ssh === undefined) return
  if (keys !== undefined) {
    await installKey(machine, login, { user: spec.ssh.user, publicKey: keys.client.publicKey }, signal)
  }
  machine.hostKeyOfConsole = await readHostKey(machine, signal)
  if (!wasLoggedIn) await serial.type('exit\n')
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
  const { text, status } = await ask(machine, command, { password: login.password, signal })
  if (status === 0) return
  throw vmError('KEY_NOT_INSTALLED', {
    summary: `The key of this run could not be installed for the user '${user}' by the serial console.`,
    got: status === undefined ? 'no answer' : `exit code ${status}`,
    evidence: [{ label: 'Serial console since then', text: text.trim().slice(-2000) }],
    hint: isOther
      ? `${login.user} has to be allowed to become ${user} by sudo, and ${user} to have a shell; or leave \`ssh.user\` out, to go on as ${login.user}.`
      : 'read what the guest printed: is its disk mounted for writing, and does the user have a home directory?',
  })
}

/** Root needs no `sudo`, which a small system may lack. */
function runAs(user: string, from: string, script: string): string {
  const quoted = quoteWord(script)
  return from === 'root'
    ? `su -l ${quoteWord(user)} -c ${quoted}`
    : `sudo -p withvm-"password:" -H -u ${quoteWord(user)} sh -c ${quoted}`
}

/** Nothing in it is to be quoted twice. */
function installScript(publicKey: string): string {
  const file = '.ssh/authorized_keys'
  return [
    'umask 077',
    // A shell that nobody logged in to has no HOME.
    'eval cd ~$(id -un) && mkdir -p .ssh && chmod 700 .ssh',
    `{ grep -qs ${publicKey.split(' ')[1]?.slice(-40)} ${file} || echo ${publicKey} >>${file}; }`,
    `chmod 600 ${file}`,
    '{ command -v restorecon >/dev/null && restorecon -R .ssh || true; }',
    'sync',
  ].join(' && ')
}

/** The guest's host key, decoded; undefined where it has none that OpenSSH would use, and the first that is shown counts. */
async function readHostKey(machine: Machine, signal: AbortSignal): Promise<Buffer | undefined> {
  const { text } = await ask(machine, `cat ${HOST_KEY_FILES} 2>/dev/null; true`, { signal })
  const found = [...text.matchAll(HOST_KEY)].flatMap(([, type = '', encoded = '']) => {
    const key = Buffer.from(encoded, 'base64')
    return isWhole(key, type) ? [{ type, key }] : []
  })
  return BEST_FIRST.flatMap((type) => found.find((one) => one.type === type)?.key ?? [])[0]
}

/** A key is strings with their lengths before them, the first of which is its type. */
function isWhole(key: Buffer, type: string): boolean {
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
  /** What the console printed since the command was typed. */
  readonly text: string
  readonly status: number | undefined
}

/** Has the shell on the console run a command, again if no answer comes; tells `sudo` the password. */
async function ask(
  machine: Machine,
  command: string,
  { password, signal }: { readonly password?: string | undefined; readonly signal: AbortSignal },
): Promise<Answer> {
  const { serial } = machine
  // What is typed differs from what is printed by its quotes. A shell of another kind understands as much.
  const line = `sh -c ${quoteWord(`${command}; echo; echo withvm-"done" $?`)}\n`
  let mark: SerialMark = serial.mark()
  for (let tries = 1; tries <= TRIES; tries++) {
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
  const timeout = ANSWER_MS * machine.host.timeFactor
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
