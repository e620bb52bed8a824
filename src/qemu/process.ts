import type { Socket } from 'node:net'
import { createDeferred } from '../common/deferred.js'
import type { OpenFolder } from '../common/files/open-folder.js'
import { requireFiles, toHostError } from '../common/host-error.js'
import type { HostUser } from '../common/process/host-user.js'
import { setPrivileges } from '../common/process/set-privileges.js'
import { KIB } from '../common/units.js'
import { vmError } from '../errors.js'
import type { QemuCommand } from './command.js'
import { pickQemuEnvironment } from './environment.js'

/** Exit of a QEMU process. */
export interface QemuExit {
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly stderr: string
}

/** Number of the newest characters of stderr that are kept, for error messages. */
const MAX_STDERR_CHARS = 16 * KIB

interface QemuState {
  stderr: string
  exit: QemuExit | undefined
  readonly listeners: Set<(stderr: string) => void>
}

/**
 * Folder of a run. The user of QEMU may replace its path, so the working directory is entered
 * through a descriptor.
 */
export type WorkingFolder = Pick<OpenFolder, 'path' | 'workingDirectory'>

/** QEMU process. By default it dies with this process, even if this process is killed. */
export class QemuProcess {
  readonly pid: number
  readonly command: QemuCommand
  /** Resolves when the process has ended; never rejects. */
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
   * @param folder working directory and folder for temporary files.
   * @param options.endsWithParent if false, QEMU outlives this process in its own session, and
   *   another process must end it.
   * @default true
   * @param options.user user that runs QEMU. @default the user of this process
   * @throws {InfrastructureError} QEMU_NOT_FOUND when QEMU cannot be started, HOST_UNSUITABLE when
   *   this process cannot open more files.
   */
  static async start(
    command: QemuCommand,
    folder: WorkingFolder,
    options: { readonly endsWithParent?: boolean; readonly user?: HostUser | undefined } = {},
  ): Promise<QemuProcess> {
    const { execa } = await import('execa')
    const { endsWithParent = true, user } = options
    const { stdin = 'ignore', usesTerminal = false } = command
    const settings = {
      cwd: folder.workingDirectory,
      stdio: [
        usesTerminal ? 'inherit' : (stdin as 'ignore'), // execa's types allow only descriptors 3 to 9
        usesTerminal ? 'inherit' : 'pipe',
        'pipe',
      ],
      buffer: false,
      reject: false,
      // No effect in a session of its own, where the parent-death signal ends QEMU.
      cleanup: endsWithParent,
      detached: !endsWithParent,
      // Temporary files, such as the settings of samba, are removed with the folder even if QEMU is
      // killed.
      env: { ...pickQemuEnvironment(process.env), TMPDIR: folder.path },
      extendEnv: false,
    } as const
    const start = await setPrivileges(command, { endsWithParent, user }, settings)
    requireFiles()
    const child = execa(...start)
    const state: QemuState = { stderr: '', exit: undefined, listeners: new Set() }
    const keep = (chunk: Buffer) => {
      state.stderr = (state.stderr + chunk.toString()).slice(-MAX_STDERR_CHARS)
      for (const listener of state.listeners) listener(state.stderr)
    }
    child.stderr.on('data', keep)
    child.stdout?.on('data', keep)
    const ended = createDeferred<QemuExit>()
    const end = (result: {
      readonly exitCode?: number | undefined
      readonly signal?: string | undefined
    }) => {
      state.exit = { exitCode: result.exitCode, signal: result.signal, stderr: state.stderr }
      ended.resolve(state.exit)
    }
    child.then(end, () => end({}))
    if (child.pid === undefined) {
      const { cause } = (await child) as { cause?: unknown }
      const limit = toHostError(cause)
      if (limit !== cause) throw limit
      throw vmError('QEMU_NOT_FOUND', {
        summary: `QEMU could not be started: ${cause instanceof Error ? cause.message : 'no process was created'}.`,
        hint: `Check that ${command.file} exists and is executable.`,
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

  /** Calls `listener` with the complete output whenever QEMU prints more. */
  onStderr(listener: (text: string) => void): void {
    this.#state.listeners.add(listener)
  }

  /** Lets this process exit while QEMU runs. */
  leave(): void {
    this.#unref()
  }

  /** Sends a signal. Returns false if the process has already ended. */
  kill(signal: NodeJS.Signals): boolean {
    if (this.exit !== undefined) return false
    try {
      return process.kill(this.pid, signal)
    } catch {
      return false
    }
  }
}
