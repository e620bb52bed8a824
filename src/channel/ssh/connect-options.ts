import type { Socket } from 'node:net'

export interface SshConnectOptions {
  /** Host name or address of the server. @default '127.0.0.1' */
  readonly host?: string | undefined
  readonly port: number
  /** Open connection to the server, such as the one returned by {@link waitForSshBanner}. */
  readonly socket?: Socket | undefined
  /** User to log in as. @default 'root' */
  readonly user?: string | undefined
  /**
   * Private key in OpenSSH or PEM format. Without a key and a password, the method `none` is used.
   */
  readonly privateKey?: string | Buffer | undefined
  /** Passphrase of an encrypted private key. */
  readonly passphrase?: string | undefined
  readonly password?: string | undefined
  /** Required host key of the server: the decoded content of its public key file. @default any */
  readonly hostKey?: Buffer | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Ciphers to offer. @default the fastest ones on an emulated CPU first */
  readonly ciphers?: readonly string[] | undefined
  /** Interval of keepalive requests to a silent server. @default 10000 */
  readonly keepaliveIntervalMs?: number | undefined
  /**
   * Number of unanswered keepalive requests after which the connection counts as lost. @default 6
   */
  readonly keepaliveCountMax?: number | undefined
}
