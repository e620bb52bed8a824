import type { Program } from './host-user.js'

/**
 * Becomes the program. Next to it a shell reads from descriptor 3, a pipe of this process: it ends when this process does, in whatever
 * way, and then the shell kills the process group, itself included.
 */
const SCRIPT = `{ read -r _ <&3; kill -s KILL 0; } </dev/null >/dev/null 2>&1 &
exec 3<&-
exec "$@"`

/**
 * Returns the command of a program that ends together with this process, and with it all that it started, unless that left the process
 * group. It has to be started as the leader of a process group (`detached`) with a pipe as descriptor 3; when it has ended, {@link killGroup} ends the rest.
 */
export function guardGroup({ file, args }: Program): Program {
  return { file: '/bin/sh', args: ['-c', SCRIPT, 'sh', file, ...args] }
}

/** Kills all processes of a group. */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // All have ended.
  }
}
