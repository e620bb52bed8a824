import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { requireFiles } from '../common/host-error.js'
import { asUser } from '../common/process/as-user.js'
import type { HostUser } from '../common/process/host-user.js'
import { guardGroup, killGroup } from '../common/process/process-group.js'
import { splitWords } from '../common/process/split-words.js'
import { pickQemuEnvironment } from './environment.js'
import type { WorkingFolder } from './process.js'

/** Command of `guestfwd` that serves one connection of a guest, in its own process group. */
export class ForwardCommand {
  /**
   * Resolves when the command has ended; never rejects. The rest of its process group is killed at
   * that time.
   */
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  #hasEnded = false

  private constructor(child: ChildProcess) {
    this.#child = child
    this.ended = new Promise((resolve) => {
      child.once('error', () => resolve()) // the command could not be started
      child.once('exit', () => {
        this.kill()
        this.#hasEnded = true // the id of the group may be reused from now on
        resolve()
      })
    })
  }

  /**
   * Starts the command with the connection as its standard streams, without a shell.
   *
   * @throws {InfrastructureError} HOST_UNSUITABLE when this process cannot open more files.
   * @param options.user user that runs the command. @default the user of this process
   */
  static start(
    line: string,
    connection: Socket,
    { folder, user }: { readonly folder: WorkingFolder; readonly user?: HostUser | undefined },
  ): ForwardCommand {
    const words = splitWords(line, { isLiteral: true })
    const [program = '', ...rest] = words
    const guarded = guardGroup({ file: program, args: rest })
    const settings = {
      cwd: folder.workingDirectory,
      detached: true, // leads a process group
      stdio: [connection, connection, connection, 'pipe'],
      env: { ...pickQemuEnvironment(process.env), TMPDIR: folder.path },
    } satisfies SpawnOptions
    requireFiles()
    const child = spawn(...asUser(user, guarded, settings))
    child.unref() // does not keep this process alive
    // If no file descriptor is left, Node.js returns a child without streams and emits 'error'
    // later.
    const command = new ForwardCommand(child)
    const pipe = child.stdio?.[3] as Socket | null | undefined
    pipe?.on('error', () => {})
    pipe?.unref()
    return command
  }

  /** Kills the process group of the command. */
  kill(): void {
    const { pid } = this.#child
    if (pid === undefined || this.#hasEnded) return
    killGroup(pid)
  }
}
