import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import type { Client, ConnectConfig } from 'ssh2'
import { withDeadline } from '../../common/deadline.js'
import { formatDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'
import { keyType } from './keys.js'
import { loadSsh } from './ssh-library.js'

export interface SshConnectOptions {
  /** @default '127.0.0.1' */
  readonly host?: string
  readonly port: number
  /** A connection to the server that is open already, as {@link waitForSshBanner} hands over. */
  readonly socket?: Socket | undefined
  /** @default 'root' */
  readonly user?: string
  /** In OpenSSH's or PEM format. Without a key and a password the login is tried with neither. */
  readonly privateKey?: string | Buffer | undefined
  /** What opens the private key, where it is encrypted. */
  readonly passphrase?: string | undefined
  readonly password?: string | undefined
  /** The host key that the server must show, as in its public key file, decoded. @default any */
  readonly hostKey?: Buffer | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** In place of the default, which prefers what costs an emulated guest the least. */
  readonly algorithms?: ConnectConfig['algorithms'] | undefined
  /** How often a silent server is asked whether it lives. @default 10000 */
  readonly keepaliveIntervalMs?: number
  /** How many of these questions may stay open before the connection counts as lost. @default 6 */
  readonly keepaliveCountMax?: number
}

/** An authenticated connection. */
export interface SshConnection {
  readonly client: Client
  /** The key that the server showed. */
  readonly hostKey: Buffer
}

type Stage = 'connect' | 'banner' | 'key exchange' | 'authentication'

/**
 * Opens a TCP connection to an SSH server and logs in.
 *
 * @throws {GuestError} SSH_REFUSED, SSH_AUTH_FAILED or SSH_HOST_KEY_CHANGED.
 */
export async function openSshConnection(options: SshConnectOptions): Promise<SshConnection> {
  const { timeoutMs } = options
  let stage: Stage = 'connect'
  let hostKey: Buffer | undefined
  let { socket } = options
  let client: Client | undefined
  const onTimeout = () => refused(options, stage, `no progress within ${formatDuration(timeoutMs)}`)
  try {
    return await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, async (signal) => {
      const { Client } = await loadSsh()
      signal.throwIfAborted()
      // Without this each answer waits for the guest's delayed acknowledgement: 68 instead of 26 ms for a command.
      const tcp = socket ?? connect({ host: options.host ?? '127.0.0.1', port: options.port, noDelay: true })
      const ssh = new Client()
      socket = tcp
      client = ssh
      tcp.once('connect', () => {
        stage = 'banner'
      })
      tcp.once('data', () => {
        stage = 'key exchange'
      })
      return await new Promise<SshConnection>((resolve, reject) => {
        ssh.on('error', (error) => reject(toError(error, options, stage, hostKey)))
        ssh.once('close', () => reject(refused(options, stage, 'it closed the connection')))
        ssh.once('handshake', () => {
          stage = 'authentication'
        })
        ssh.on('keyboard-interactive', (_name, _instructions, _language, prompts, finish) =>
          finish(prompts.map(() => options.password ?? '')),
        )
        ssh.once('ready', () => resolve({ client: ssh, hostKey: hostKey ?? Buffer.alloc(0) }))
        ssh.connect({
          ...toConfig(options),
          sock: tcp,
          hostVerifier: (key: Buffer) => {
            hostKey = key
            return options.hostKey?.equals(key) ?? true
          },
        })
      })
    })
  } catch (error) {
    client?.on('error', () => {}).destroy()
    socket?.on('error', () => {}).destroy()
    throw error
  }
}

/** A host key's fingerprint as `ssh-keygen -l` prints it. */
export function fingerprint(publicBlob: Buffer): string {
  return `SHA256:${createHash('sha256').update(publicBlob).digest('base64').replace(/=+$/, '')}`
}

function toConfig(options: SshConnectOptions): ConnectConfig {
  const { user = 'root', privateKey, passphrase, password, hostKey } = options
  const methods = [
    ...(privateKey === undefined ? [] : ['publickey']),
    ...(password === undefined ? [] : ['password', 'keyboard-interactive']),
  ]
  return {
    username: user,
    ...(privateKey === undefined ? {} : { privateKey, passphrase }),
    ...(password === undefined ? {} : { password, tryKeyboard: true }),
    // Named, so that no round trip goes to the method `none`.
    authHandler: (methods.length === 0 ? ['none'] : methods) as never,
    readyTimeout: 0,
    keepaliveInterval: options.keepaliveIntervalMs ?? 10_000,
    keepaliveCountMax: options.keepaliveCountMax ?? 6,
    algorithms: options.algorithms ?? cheapAlgorithms(hostKey),
  }
}

/**
 * An emulated CPU has no AES instructions: ChaCha20 copies 1.5 × as fast as AES-CTR there. Whatever else the
 * library knows stays on offer behind these.
 */
function cheapAlgorithms(hostKey: Buffer | undefined): NonNullable<ConnectConfig['algorithms']> {
  const type = hostKey === undefined ? 'ssh-ed25519' : keyType(hostKey)
  const hostKeyTypes = type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]
  return {
    kex: preferring(['curve25519-sha256', 'curve25519-sha256@libssh.org']),
    serverHostKey: preferring(hostKeyTypes),
    cipher: preferring(['chacha20-poly1305@openssh.com', 'aes128-gcm@openssh.com', 'aes128-ctr']),
    hmac: preferring(['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-256']),
    compress: ['none'],
  }
}

/** The library does not move a name that it already has: it has to be taken out first. */
function preferring<Name extends string>(names: readonly string[]) {
  return { append: [], remove: [...names], prepend: [...names] } as unknown as {
    append: Name[]
    remove: Name[]
    prepend: Name[]
  }
}

function toError(
  error: Error & { level?: string },
  options: SshConnectOptions,
  stage: Stage,
  shown: Buffer | undefined,
): Error {
  const pinned = options.hostKey
  if (pinned !== undefined && shown !== undefined && !pinned.equals(shown)) {
    return vmError('SSH_HOST_KEY_CHANGED', {
      summary: `the SSH server on port ${options.port} showed another host key than the pinned one`,
      expected: fingerprint(pinned),
      got: fingerprint(shown),
      hint: 'Something else answers on that port, or the guest made itself new host keys.',
      cause: error,
    })
  }
  if (error.level === 'client-authentication') return authFailed(options, error)
  return refused(options, stage, error.message, error)
}

function authFailed(options: SshConnectOptions, cause: Error): Error {
  const { user = 'root', privateKey, password } = options
  const tried = [privateKey && 'a key', password !== undefined && 'a password'].filter(Boolean)
  return vmError('SSH_AUTH_FAILED', {
    summary: `the SSH server on port ${options.port} refused the login of ${user}`,
    expected: `a login by ${tried.length === 0 ? 'name alone' : tried.join(' or ')}`,
    got: cause.message,
    hint:
      privateKey === undefined
        ? 'Check the user and the password, and that the server allows that login.'
        : "Check the user, and that the key is in this user's authorized_keys, with modes that the server accepts.",
    cause,
  })
}

const STAGE_TEXT: Record<Stage, string> = {
  connect: 'while connecting',
  banner: 'before it said that it is an SSH server',
  'key exchange': 'during the key exchange',
  authentication: 'during the login',
}

function refused(options: SshConnectOptions, stage: Stage, got: string, cause?: Error): Error {
  const isSilent = stage === 'connect' || stage === 'banner'
  return vmError('SSH_REFUSED', {
    summary: `no SSH connection to ${options.host ?? '127.0.0.1'}:${options.port}`,
    got: `${got} (${STAGE_TEXT[stage]})`,
    hint: isSilent
      ? 'Check on the serial console that the guest has booted, has its address and runs an SSH server on that port.'
      : "See the SSH server's own log in the guest.",
    cause,
  })
}
