import type { Socket } from 'node:net'
import { createDeferred } from '../common/deferred.js'
import { requireFiles, toHostError } from '../common/host-error.js'
import type { HostUser } from '../common/process/host-user.js'
import { setPrivileges } from '../common/process/set-privileges.js'
import { vmError } from '../errors.js'
import type { QemuCommand } from './command.js'
import { pickQemuEnvironment } from './environment.js'

/** How a QEMU process ended. */
export interface QemuExit {
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly stderr: string
}

/** As much of what QEMU says as an error message can use; the newest is kept. */
const STDERR_KEPT = 16 * 1024

interface QemuState {
  stderr: string
  exit: QemuExit | undefined
  readonly listeners: Set<(stderr: string) => void>
}

/** A running QEMU. Unless it was started otherwise, it dies with this process, even with one that is killed. */
export class QemuProcess {
  readonly pid: number
  readonly command: QemuCommand
  /** Settles, never rejects, when the process has ended. */
  readonly exited: Promise<QemuExit>
  readonly #state: QemuState
  readonly #unref: () => void

  private constructor(
    pid: number,
    command: QemuCommand,
    state: QemuState,
    exited: Promise<QemuExit>,
    unref: () => void,
  ) {
    this.pid = pid
    this.#unref = unref
    this.command = command
    this.#state = state
    this.exited = exited
  }

  /**
   * Starts QEMU without a shell.
   *
   * @param options.endsWithUs false: it goes on when this process ends, in a session of its own; somebody else must
   *   end it. @default true
   * @param options.user as whom it runs. @default who runs this process
   * @throws {InfrastructureError} QEMU_NOT_FOUND when the program cannot be started.
   */
  static async start(
    command: QemuCommand,
    cwd: string,
    options: { readonly endsWithUs?: boolean; readonly user?: HostUser | undefined } = {},
  ): Promise<QemuProcess> {
    const { execa } = await import('execa')
    const { endsWithUs = true, user } = options
    const { file, args, stdin = 'ignore' } = await setPrivileges(command, { endsWithUs, user })
    const { usesTerminal = false } = command
    requireFiles()
    const child = execa(file, args, {
      cwd,
      stdin: usesTerminal ? 'inherit' : (stdin as 'ignore'), // execa's types know no open file but 3 to 9
      stdout: usesTerminal ? 'inherit' : 'pipe',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      cleanup: endsWithUs,
      detached: !endsWithUs,
      // What it writes for a while, as the settings of samba, is gone with its folder, also where it is killed.
      env: { ...pickQemuEnvironment(process.env, user), TMPDIR: cwd },
      extendEnv: false,
    })
    const state: QemuState = { stderr: '', exit: undefined, listeners: new Set() }
    const keep = (chunk: Buffer) => {
      state.stderr = (state.stderr + chunk.toString()).slice(-STDERR_KEPT)
      for (const listener of state.listeners) listener(state.stderr)
    }
    child.stderr.on('data', keep)
    child.stdout?.on('data', keep)
    const ended = createDeferred<QemuExit>()
    const end = (how: { readonly exitCode?: number | undefined; readonly signal?: string | undefined }) => {
      state.exit = { exitCode: how.exitCode, signal: how.signal, stderr: state.stderr }
      ended.resolve(state.exit)
    }
    child.then(end, () => end({}))
    if (child.pid === undefined) {
      const { cause } = (await child) as { cause?: unknown }
      const limit = toHostError(cause)
      if (limit !== cause) throw limit
      throw vmError('QEMU_NOT_FOUND', {
        summary: `QEMU could not be started: ${cause instanceof Error ? cause.message : 'no process was made'}.`,
        hint: `check that ${command.file} exists and can be run.`,
        cause,
      })
    }
    const unref = () => {
      child.unref()
      for (const pipe of [child.stdout, child.stderr] as unknown as Array<Socket | null>) pipe?.unref()
    }
    return new QemuProcess(child.pid, command, state, ended.promise, unref)
  }

  get stderr(): string {
    return this.#state.stderr
  }

  /** Undefined while the process runs. */
  get exit(): QemuExit | undefined {
    return this.#state.exit
  }

  /** Calls `listener` with all of what QEMU has said whenever there is more. */
  onStderr(listener: (text: string) => void): void {
    this.#state.listeners.add(listener)
  }

  /** Does not keep this process waiting for its end any more. */
  leave(): void {
    this.#unref()
  }

  /** Sends a signal; gives false when the process has ended already. */
  kill(signal: NodeJS.Signals): boolean {
    if (this.exit !== undefined) return false
    try {
      return process.kill(this.pid, signal)
    } catch {
      return false
    }
  }
}
