import type { HostUser, Program } from './host-user.js'
import { coverInherited } from './inherited-descriptors.js'

/** Options of execa and `spawn()` by which a program gets resources of this process. */
export interface StartOptions {
  readonly detached?: boolean | undefined
  readonly cwd?: string | undefined
  readonly stdio?: readonly unknown[] | undefined
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/** Arguments of execa and `spawn()`. */
export type StartArguments<T> = readonly [file: string, args: readonly string[], options: T]

/**
 * Returns the arguments of execa or `spawn()` that start a program as that user, with its groups
 * and without a way to regain privileges (setpriv(1)). The process id is that of the program. This
 * is the only function that starts programs of another user, who is an attacker: QEMU may be
 * compromised.
 *
 * - The program leads a session of its own, so it has no controlling terminal. Code in it could
 *   otherwise type commands into root's shell (ioctl TIOCSTI) or read what root types.
 * - Its working directory is `options.cwd`, by default `/`. Through /proc/PID/cwd, that user could
 *   otherwise read files below folders that it may not enter.
 * - It inherits no descriptors besides `options.stdio`, by default three pipes. The shell that
 *   started this process may have left a file open that only root can read.
 * - Its environment, which that user can read, is exactly `options.env` with the user's home.
 *
 * @param user undefined starts the program with `options` as the user of this process.
 * @param more options of setpriv, for example a parent-death signal
 */
export function asUser<T extends StartOptions>(
  user: HostUser | undefined,
  { file, args }: Program,
  options: T,
  more: readonly string[] = [],
): StartArguments<T> {
  if (user === undefined) return [file, args, options]
  const { setpriv, uid, gid, hasGroups, home } = user
  const groups = hasGroups ? '--init-groups' : '--clear-groups'
  const identity = ['--reuid', String(uid), '--regid', String(gid), groups, '--no-new-privs']
  const apart = {
    detached: true,
    cwd: options.cwd ?? '/',
    stdio: coverInherited(options.stdio ?? ['pipe', 'pipe', 'pipe']),
    env: { ...options.env, HOME: home },
    extendEnv: false,
  }
  return [setpriv, [...identity, ...more, '--', file, ...args], { ...options, ...apart }]
}
