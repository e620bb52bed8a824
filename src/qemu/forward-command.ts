import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { asUser, type HostUser } from '../common/host-user.js'
import { splitWords } from '../common/split-words.js'
import { pickQemuEnvironment } from './environment.js'

/**
 * Becomes the command. Beside it a shell waits for the end of the pipe that it has from this process: by then this process has
 * ended, in whatever way, and the command goes with all of its process group.
 */
const SCRIPT = `{ read -r _ <&3; kill -s KILL 0; } </dev/null >/dev/null 2>&1 &
exec 3<&-
exec "$@"`

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
   * @param options.user as whom it runs. @default who runs this process
   */
  static start(
    line: string,
    connection: Socket,
    { cwd, user }: { readonly cwd: string; readonly user?: HostUser | undefined },
  ): ForwardCommand {
    const words = splitWords(line, { isLiteral: true })
    const shell = { file: '/bin/sh', args: ['-c', SCRIPT, 'sh', ...words] }
    const { file, args } = user === undefined ? shell : asUser(user, shell)
    const child = spawn(file, args, {
      cwd,
      detached: true, // leads a process group
      stdio: [connection, connection, connection, 'pipe'],
      env: { ...pickQemuEnvironment(process.env, user), TMPDIR: cwd },
    })
    // It does not keep this process waiting.
    child.unref()
    const pipe = child.stdio[3] as Socket | null | undefined
    pipe?.on('error', () => {})
    pipe?.unref()
    return new ForwardCommand(child)
  }

  /** Kills the command and all that it has started, unless that left the process group. */
  kill(): void {
    const { pid } = this.#child
    if (pid === undefined || this.#hasEnded) return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // All have ended.
    }
  }
}
