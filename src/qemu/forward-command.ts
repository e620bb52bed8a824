import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { requireFiles } from '../common/host-error.js'
import { asUser, type HostUser } from '../common/process/host-user.js'
import { guardGroup, killGroup } from '../common/process/process-group.js'
import { splitWords } from '../common/process/split-words.js'
import { pickQemuEnvironment } from './environment.js'

/** A command of `guestfwd` that serves one connection of a guest, in a process group of its own. */
export class ForwardCommand {
  /** Settles, never rejects, when the command has ended. What else is in its process group is killed then. */
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  #hasEnded = false

  private constructor(child: ChildProcess) {
    this.#child = child
    this.ended = new Promise((resolve) => {
      child.once('error', () => resolve()) // it could not be started
      child.once('exit', () => {
        this.kill()
        this.#hasEnded = true // from now on the number may be another group's
        resolve()
      })
    })
  }

  /**
   * Starts the command with the connection as its standard streams, without a shell in between that would read its words.
   *
   * @throws {InfrastructureError} HOST_UNSUITABLE when this process may open no more files.
   * @param options.user as whom it runs. @default who runs this process
   */
  static start(
    line: string,
    connection: Socket,
    { cwd, user }: { readonly cwd: string; readonly user?: HostUser | undefined },
  ): ForwardCommand {
    const words = splitWords(line, { isLiteral: true })
    const [program = '', ...rest] = words
    const guarded = guardGroup({ file: program, args: rest })
    const { file, args } = user === undefined ? guarded : asUser(user, guarded)
    requireFiles()
    const child = spawn(file, args, {
      cwd,
      detached: true, // leads a process group
      stdio: [connection, connection, connection, 'pipe'],
      env: { ...pickQemuEnvironment(process.env, user), TMPDIR: cwd },
    })
    // It does not keep this process waiting.
    child.unref()
    // Without files, Node.js returns a child without streams, and emits 'error' later.
    const command = new ForwardCommand(child)
    const pipe = child.stdio?.[3] as Socket | null | undefined
    pipe?.on('error', () => {})
    pipe?.unref()
    return command
  }

  /** Kills the command and all that it has started, unless that left the process group. */
  kill(): void {
    const { pid } = this.#child
    if (pid === undefined || this.#hasEnded) return
    killGroup(pid)
  }
}
