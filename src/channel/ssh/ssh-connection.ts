import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import type { Client, ConnectConfig } from 'ssh2'
import { withDeadline } from '../../common/deadline.js'
import { formatDuration } from '../../common/duration.js'
import { MIB } from '../../common/units.js'
import { vmError } from '../../errors.js'
import { listMissingAlgorithms, selectAlgorithms } from './algorithms.js'
import type { SshConnectOptions } from './connect-options.js'
import { loadSsh } from './ssh-library.js'
import { unsupportedError } from './unsupported-runtime.js'

/** Authenticated connection. */
export interface SshConnection {
  readonly client: Client
  /** Host key of the server. */
  readonly hostKey: Buffer
}

type Stage = 'connect' | 'banner' | 'key exchange' | 'authentication'

/**
 * Limit of buffered outgoing data; reading stops above it. The library replies to each request of
 * the server, so a server that never reads would fill the memory. Uploads rarely reach this size:
 * the window of an OpenSSH server is 2 MiB for each channel.
 */
const MAX_UNSENT_BYTES = 4 * MIB

/**
 * Opens a TCP connection to an SSH server and logs in.
 *
 * @throws {GuestError} SSH_REFUSED when no SSH server responds in time, SSH_AUTH_FAILED when it
 *   refuses the login, SSH_HOST_KEY_CHANGED when its host key differs from `hostKey`.
 * @throws {InfrastructureError} SSH_UNSUPPORTED when this runtime lacks the algorithms of the
 *   server.
 */
export async function openSshConnection(options: SshConnectOptions): Promise<SshConnection> {
  const { timeoutMs } = options
  let stage: Stage = 'connect'
  let hostKey: Buffer | undefined
  let { socket } = options
  let client: Client | undefined
  const onTimeout = () =>
    connectionRefusedError(options, stage, `no progress within ${formatDuration(timeoutMs)}`)
  try {
    return await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, async (signal) => {
      const { Client } = await loadSsh()
      signal.throwIfAborted()
      // `noDelay`: otherwise each write waits for the guest's delayed ACK, and a command takes 68
      // instead of 26 ms.
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
      tcp.on('data', () => {
        if (tcp.writableLength > MAX_UNSENT_BYTES) tcp.pause().once('drain', () => tcp.resume())
      })
      return await new Promise<SshConnection>((resolve, reject) => {
        ssh.on('error', (error) => reject(toError(error, options, stage, hostKey)))
        ssh.once('close', () =>
          reject(connectionRefusedError(options, stage, 'the server closed the connection')),
        )
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

/** Returns the fingerprint of a host key in the format of `ssh-keygen -l`. */
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
    // An explicit list saves the round trip of the method `none`.
    authHandler: (methods.length === 0 ? ['none'] : methods) as never,
    readyTimeout: 0,
    keepaliveInterval: options.keepaliveIntervalMs ?? 10_000,
    keepaliveCountMax: options.keepaliveCountMax ?? 6,
    algorithms: selectAlgorithms(hostKey, options.ciphers),
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
      summary: `The host key of the SSH server on port ${options.port} differs from the pinned key.`,
      expected: fingerprint(pinned),
      got: fingerprint(shown),
      hint: 'Check whether the guest generated new host keys or another server listens on that port.',
      cause: error,
    })
  }
  if (error.level === 'client-authentication') return authFailedError(options, error)
  const missing = stage === 'key exchange' ? listMissingAlgorithms() : []
  if (missing.length > 0 && /no matching|unsupported/i.test(error.message)) {
    return unsupportedError(error.message, missing, error)
  }
  return connectionRefusedError(options, stage, error.message, error)
}

function authFailedError(options: SshConnectOptions, cause: Error): Error {
  const { user = 'root', privateKey, password } = options
  const tried = [privateKey && 'a key', password !== undefined && 'a password'].filter(Boolean)
  return vmError('SSH_AUTH_FAILED', {
    summary: `The SSH server on port ${options.port} rejected the login of ${user}.`,
    expected: `a login with ${tried.length === 0 ? 'neither key nor password' : tried.join(' or ')}`,
    got: cause.message,
    hint:
      privateKey === undefined
        ? 'Check the user and the password, and that the server allows this login.'
        : "Check the user, the user's authorized_keys in the guest, and the modes of that file and its folder.",
    cause,
  })
}

const STAGE_TEXT: Record<Stage, string> = {
  connect: 'while connecting',
  banner: 'while waiting for the banner',
  'key exchange': 'during the key exchange',
  authentication: 'during the login',
}

function connectionRefusedError(options: SshConnectOptions, stage: Stage, got: string, cause?: Error): Error {
  const isSilent = stage === 'connect' || stage === 'banner'
  const isClosed = stage === 'banner' && cause !== undefined
  return vmError('SSH_REFUSED', {
    summary: `The SSH connection to ${options.host ?? '127.0.0.1'}:${options.port} failed.`,
    got: `${got} (${STAGE_TEXT[stage]})`,
    hint: isClosed
      ? 'Check that the SSH server in the guest still runs: the connection was closed before it answered.'
      : isSilent
        ? 'Check on the serial console that the guest has booted, has an address and runs an SSH server on that port.'
        : 'Read the log of the SSH server in the guest.',
    cause,
  })
}
