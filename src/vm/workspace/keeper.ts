import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { raceSignal } from '../../common/deadline.js'
import { requireFiles } from '../../common/host-error.js'
import { vmError } from '../../errors.js'
import type { KeeperOrder, KeeperReply } from './keeper-program.js'
import { KEPT_CONSOLE_SOCKET, TTY_SOCKET } from './running-guests.js'
import type { Workspace } from './workspace.js'

/** How long the keeper may take to answer, milliseconds: it starts a Node.js. Measured: 90. */
const ANSWER_MS = 20_000

/**
 * A process beside this one, for a guest that may be left running. It ends QEMU and removes its folder when this
 * process dies, as the kernel does for other guests; after `takeOver()` it does so when the time of the guest is up.
 */
export class Keeper {
  readonly keepMs: number
  readonly pid: number
  #hasGuest = false
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: AsyncIterator<string>
  readonly #lines: Interface

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, pid: number, keepMs: number) {
    this.#child = child
    this.pid = pid
    this.keepMs = keepMs
    this.#lines = createInterface({ input: child.stdout })
    this.#answers = this.#lines[Symbol.asyncIterator]()
  }

  /**
   * Starts the process. It listens for the guest's console from the start, so that its sockets are handed over to
   * another user's QEMU with the rest of the folder.
   *
   * @throws {InfrastructureError} WORKSPACE_FAILED when no such process can be had.
   */
  static async start(workspace: Workspace, keepMs: number, log: ConsoleLogFile): Promise<Keeper> {
    requireFiles()
    const child = spawn(process.execPath, [programPath()], {
      cwd: '/',
      detached: true, // Ctrl-C in the terminal is not for it
      stdio: ['pipe', 'pipe', 'ignore', log.fd],
      env: { ...process.env, NODE_OPTIONS: '' },
    }) as ChildProcessByStdio<Writable, Readable, null> // Node's types know three streams only
    child.on('error', () => {}) // then it has no pid
    child.stdin.on('error', () => {}) // then no answer comes
    if (child.pid === undefined) throw keeperLost('it could not be started')
    const keeper = new Keeper(child, child.pid, keepMs)
    try {
      const watch = [...new Set([workspace.socketDir, workspace.dir])]
      const console = {
        guest: workspace.socket(KEPT_CONSOLE_SOCKET),
        terminal: workspace.socket(TTY_SOCKET),
      }
      await keeper.#tell({ watch, console }, 'watching')
      return keeper
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  /** Whether the guest is the keeper's: this process must neither end it nor remove its folder. */
  get hasGuest(): boolean {
    return this.#hasGuest
  }

  /**
   * Gives the guest to the keeper, which appends to the log of the console from then on.
   * @param order.place the text with which the keeper enters the guest in the ledger of the budget.
   * @param order.logBytes by how much the log may still grow.
   */
  async takeOver(order: { readonly place: string; readonly logBytes: number }): Promise<void> {
    await this.#tell({ keepMs: this.keepMs, ...order }, 'kept')
    this.#hasGuest = true
  }

  /** Ends what connects this process with it. Unless it has the guest, the keeper ends, and is waited for. */
  async end(): Promise<void> {
    const { exitCode, signalCode } = this.#child
    const ended =
      exitCode === null && signalCode === null
        ? new Promise((resolve) => this.#child.once('exit', resolve))
        : undefined
    this.#child.stdin.end()
    if (!this.#hasGuest) {
      const patience = setTimeout(() => this.#child.kill('SIGKILL'), ANSWER_MS)
      await ended
      clearTimeout(patience)
    }
    this.#lines.close()
    this.#child.stdout.destroy()
    this.#child.unref()
  }

  async #tell(order: KeeperOrder, reply: KeeperReply): Promise<void> {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
    const limit = AbortSignal.timeout(ANSWER_MS)
    const answer = await raceSignal(this.#answers.next(), limit).catch(() => ({ value: undefined }))
    if (answer.value !== reply) throw keeperLost('it did not answer')
  }
}

/** It is run by Node.js itself, and so from what was built, also where this file was not. */
function programPath(): string {
  const root = dirname(createRequire(import.meta.url).resolve('withvm/package.json'))
  return join(root, 'dist/src/vm/workspace/keeper-program.js')
}

function keeperLost(got: string) {
  return vmError('WORKSPACE_FAILED', {
    summary: 'The process that is to keep the guest running after a failure is not there.',
    got,
    hint: 'run without `keepOnFailure` and WITHVM_KEEP, or see whether this host is out of memory or processes.',
  })
}
