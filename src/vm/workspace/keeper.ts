import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { raceSignal } from '../../common/deadline.js'
import { requireFiles } from '../../common/host-error.js'
import { referTo } from '../../common/locks/process-identity.js'
import type { HostUser } from '../../common/process/host-user.js'
import { vmError } from '../../errors.js'
import type { KeeperOrder, KeeperReply } from './keeper-program.js'
import { KEPT_CONSOLE_SOCKET, TTY_SOCKET } from './running-guests.js'
import type { Workspace } from './workspace.js'

/** Time limit for a reply of the keeper, milliseconds: it has to start Node.js. Measured: 90. */
const REPLY_TIMEOUT_MS = 20_000

export interface KeeperSettings {
  /** Time for which the guest is left running, in milliseconds. */
  readonly keepMs: number
  /** Log of the console, which the keeper continues. */
  readonly log: ConsoleLogFile
  /** User that runs QEMU. @default the user of this process */
  readonly user: HostUser | undefined
}

/**
 * Second process, for a guest that may be left running. When this process dies, the keeper ends
 * QEMU and removes the folder, as the kernel ends QEMU for other guests. After `takeOver()` it does
 * so when the guest's time limit expires.
 */
export class Keeper {
  readonly keepMs: number
  readonly pid: number
  #hasGuest = false
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #replies: AsyncIterator<string>
  readonly #lines: Interface

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, pid: number, keepMs: number) {
    this.#child = child
    this.pid = pid
    this.keepMs = keepMs
    this.#lines = createInterface({ input: child.stdout })
    this.#replies = this.#lines[Symbol.asyncIterator]()
  }

  /**
   * Starts the process. It listens for the guest's console immediately, so its sockets are handed
   * over to the user of `runAs` with the rest of the folder.
   *
   * @throws {InfrastructureError} WORKSPACE_FAILED when the process cannot be started.
   */
  static async start(workspace: Workspace, settings: KeeperSettings): Promise<Keeper> {
    const { keepMs, log, user } = settings
    requireFiles()
    const child = spawn(process.execPath, [programPath()], {
      cwd: '/',
      detached: true, // Ctrl-C in the terminal must not reach it
      stdio: ['pipe', 'pipe', 'ignore', log.fd],
      env: { ...process.env, NODE_OPTIONS: '' },
      // The types of Node.js cover only three streams.
    }) as ChildProcessByStdio<Writable, Readable, null>
    child.on('error', () => {}) // `pid` is undefined then
    child.stdin.on('error', () => {}) // the reply times out then
    if (child.pid === undefined) throw keeperLostError('the process could not be started')
    const keeper = new Keeper(child, child.pid, keepMs)
    try {
      const watch = [...new Set([workspace.socketDir, workspace.dir])]
      const uids = [process.geteuid?.() ?? -1, ...(user === undefined ? [] : [user.uid])]
      const console = {
        guest: workspace.socket(KEPT_CONSOLE_SOCKET),
        terminal: workspace.socket(TTY_SOCKET),
      }
      await keeper.#request({ watch, uids, console }, 'watching')
      return keeper
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  /**
   * True after the keeper has taken over the guest: this process must neither end it nor remove its
   * folder.
   */
  get hasGuest(): boolean {
    return this.#hasGuest
  }

  /** Names the QEMU of a new power-on, which the keeper ends if this process dies. */
  recordQemu(pid: number): void {
    const qemu = referTo(pid)
    if (qemu !== undefined) this.#send({ qemu })
  }

  /**
   * Hands the guest over to the keeper, which continues the log of the console.
   * @param order.leaseName the text with which the keeper writes the lease of the guest.
   * @param order.logBytes the number of bytes by which the log may still grow.
   */
  async takeOver(order: { readonly leaseName: string; readonly logBytes: number }): Promise<void> {
    await this.#request({ keepMs: this.keepMs, ...order }, 'kept')
    this.#hasGuest = true
  }

  /**
   * Closes the connection to the keeper. Unless the keeper has taken over the guest, it ends, and
   * this method waits for that.
   */
  async end(): Promise<void> {
    const { exitCode, signalCode } = this.#child
    const ended =
      exitCode === null && signalCode === null
        ? new Promise((resolve) => this.#child.once('exit', resolve))
        : undefined
    this.#child.stdin.end()
    if (!this.#hasGuest) {
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), REPLY_TIMEOUT_MS)
      await ended
      clearTimeout(timer)
    }
    this.#lines.close()
    this.#child.stdout.destroy()
    this.#child.unref()
  }

  #send(order: KeeperOrder): void {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
  }

  async #request(order: KeeperOrder, reply: KeeperReply): Promise<void> {
    this.#send(order)
    const limit = AbortSignal.timeout(REPLY_TIMEOUT_MS)
    const result = await raceSignal(this.#replies.next(), limit).catch(() => ({ value: undefined }))
    if (result.value !== reply) throw keeperLostError('no reply in time')
  }
}

/**
 * Returns the path of the built program: Node.js itself runs it, even if this file is run from
 * source.
 */
function programPath(): string {
  const root = dirname(createRequire(import.meta.url).resolve('withvm/package.json'))
  return join(root, 'dist/src/vm/workspace/keeper-program.js')
}

function keeperLostError(got: string) {
  return vmError('WORKSPACE_FAILED', {
    summary: 'The helper process that keeps a guest running after a failure is not available.',
    got,
    hint: 'Run without `keepOnFailure` and WITHVM_KEEP, or check whether this host is out of memory or processes.',
  })
}
