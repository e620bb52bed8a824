import type { ClientChannel, ExecOptions, SFTPWrapper } from 'ssh2'
import { combineSignals } from '../../common/combine-signals.js'
import { createDeferred } from '../../common/deferred.js'
import { quoteWord } from '../../common/process/shell-quote.js'
import { VMError, vmError } from '../../errors.js'
import { type CommandOptions, type CommandResult, prefixEnv, settleCommand } from '../command-result.js'
import { killTreeOfSibling } from '../kill-tree.js'
import { ChannelOpener } from './channel-opener.js'
import type { SshConnectOptions } from './connect-options.js'
import { toPty } from './pty.js'
import { type ShellOptions, ShellSession, type Terminal } from './shell-session.js'
import { openSshConnection, type SshConnection } from './ssh-connection.js'
import { runOnChannel } from './ssh-exec.js'
import { downloadPath, uploadPath } from './transfer.js'
import type { DownloadOptions, TransferOptions } from './transfer-limits.js'

/** Options of a command over SSH. */
export interface SshExecOptions extends CommandOptions {
  /** Runs the command on a terminal. Its stderr is then part of stdout. */
  readonly tty?: Terminal | undefined
}

const KILL_TIMEOUT_MS = 20_000

/** Connection to an SSH server in a guest. Commands can run concurrently. */
export class SshClient {
  /** Host key of the server, to be pinned for the next connection. */
  readonly hostKey: Buffer
  readonly #connection: SshConnection
  readonly #opener = new ChannelOpener()
  /** Commands whose channels are open, oldest first. */
  readonly #running = new Set<{ readonly line: string }>()
  readonly #closed = createDeferred<never>()
  #closedBy: Error | undefined
  readonly #lost = new AbortController()
  #idleSftp: SFTPWrapper[] = []

  private constructor(connection: SshConnection) {
    this.#connection = connection
    this.hostKey = connection.hostKey
    this.#closed.promise.catch(() => {})
    let reason = 'closed by the server'
    connection.client.on('error', (error: Error) => {
      reason = error.message
    })
    connection.client.on('close', () => this.#lose(connectionLostError(reason)))
  }

  /**
   * Connects and logs in.
   *
   * @throws {GuestError} SSH_REFUSED when no SSH server responds in time, SSH_AUTH_FAILED when it
   *   refuses the login, SSH_HOST_KEY_CHANGED when its host key differs from `hostKey`.
   */
  static async connect(options: SshConnectOptions): Promise<SshClient> {
    return new SshClient(await openSshConnection(options))
  }

  get isClosed(): boolean {
    return this.#closedBy !== undefined
  }

  /** Rejects with SSH_CLOSED when the connection is closed; never resolves. */
  get closed(): Promise<never> {
    return this.#closed.promise
  }

  /**
   * Runs a command in the user's shell.
   *
   * @throws {CommandError} COMMAND_FAILED when it ends with a non-zero exit code or a signal
   *   (unless `reject: false`), COMMAND_TIMEOUT when it exceeds its timeout or its AbortSignal is
   *   aborted.
   * @throws {GuestError} SSH_CLOSED when the connection is lost.
   */
  exec(
    command: string,
    options: SshExecOptions & { readonly encoding: 'buffer' },
  ): Promise<CommandResult<Buffer>>
  exec(command: string, options?: SshExecOptions): Promise<CommandResult>
  async exec(command: string, options: SshExecOptions = {}): Promise<CommandResult<string | Buffer>> {
    const line = prefixEnv(command, options.env)
    const config: ExecOptions = options.tty === undefined ? {} : { pty: toPty(options.tty) }
    const { client } = this.#connection
    const run = { line }
    const open = async (signal: AbortSignal | undefined) => {
      const channel = await this.#opener.open<ClientChannel>(
        (done) => client.exec(line, config, done),
        signal,
      )
      this.#running.add(run)
      channel.once('close', () => this.#running.delete(run))
      return channel
    }
    return settleCommand(await runOnChannel(command, options, open, () => this.#endTree(run)), options)
  }

  /** Kills a running command and all its descendants. */
  async #endTree(run: { readonly line: string }): Promise<void> {
    const sameCommands = [...this.#running].filter(({ line }) => line === run.line)
    const script = `exec /bin/sh -c ${quoteWord(killTreeOfSibling(sameCommands.indexOf(run)))}`
    const { client } = this.#connection
    const open = (signal: AbortSignal | undefined) =>
      this.#opener.open<ClientChannel>((done) => client.exec(script, done), signal)
    const raw = await runOnChannel('', { stdin: run.line, timeout: KILL_TIMEOUT_MS }, open)
    if (raw.exitCode !== 0) throw new Error('the command was not found')
  }

  /** Starts an interactive shell or a command on a terminal. */
  async shell(options: ShellOptions = {}): Promise<ShellSession> {
    const { client } = this.#connection
    const pty = toPty(options)
    const { command } = options
    const channel = await this.#opener.open<ClientChannel>(
      (done) => (command === undefined ? client.shell(pty, done) : client.exec(command, { pty }, done)),
      options.signal,
    )
    return new ShellSession(channel)
  }

  /**
   * Copies a file or a folder to the guest. See {@link uploadPath}.
   *
   * @throws {GuestError} TRANSFER_FAILED when the copy fails.
   */
  async upload(localPath: string, remotePath: string, options: TransferOptions = {}): Promise<void> {
    await this.#withSftp(options, (sftp, signal) => uploadPath(sftp, localPath, remotePath, { signal }))
  }

  /**
   * Copies a file or a folder from the guest. See {@link downloadPath}.
   *
   * @throws {GuestError} TRANSFER_FAILED when the copy fails or exceeds a limit.
   */
  async download(remotePath: string, localPath: string, options: DownloadOptions = {}): Promise<void> {
    await this.#withSftp(options, (sftp, signal) =>
      downloadPath(sftp, remotePath, localPath, { ...options, signal }),
    )
  }

  /** Closes the connection and ends its commands. Idempotent. */
  close(reason = 'closed by withvm'): void {
    this.#lose(connectionLostError(reason))
    this.#connection.client.destroy()
  }

  /**
   * Runs a copy on its own SFTP channel, so that aborting it does not affect others. Idle channels
   * are reused.
   */
  async #withSftp(
    options: TransferOptions,
    copy: (sftp: SFTPWrapper, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const signal = combineSignals(options.signal, this.#lost.signal)
    const sftp = this.#idleSftp.pop() ?? (await this.#openSftp(signal))
    try {
      await copy(sftp, signal)
    } finally {
      if (signal.aborted) sftp.end()
      else if (this.#opener.has(sftp)) this.#idleSftp.push(sftp)
    }
  }

  async #openSftp(signal: AbortSignal): Promise<SFTPWrapper> {
    try {
      const sftp = await this.#opener.open<SFTPWrapper>((done) => this.#connection.client.sftp(done), signal)
      sftp.on('error', () => {}) // 'close' follows
      sftp.on('close', () => {
        this.#idleSftp = this.#idleSftp.filter((idle) => idle !== sftp)
      })
      return sftp
    } catch (cause) {
      signal.throwIfAborted()
      const reason = cause instanceof VMError ? cause.cause : cause
      throw vmError('TRANSFER_FAILED', {
        summary: 'The SSH server in the guest does not support SFTP.',
        got: reason instanceof Error ? reason.message : String(reason),
        hint: 'Install an SFTP server in the image (Debian: openssh-sftp-server).',
        cause,
      })
    }
  }

  #lose(error: Error): void {
    if (this.#closedBy !== undefined) return
    this.#closedBy = error
    this.#closed.reject(error)
    this.#lost.abort(error)
    this.#opener.close(error)
  }
}

function connectionLostError(reason: string): Error {
  return vmError('SSH_CLOSED', {
    summary: 'The SSH connection to the guest is closed.',
    got: reason,
    hint: 'Check on the serial console whether the guest rebooted, panicked or lost its network.',
  })
}
