import type { Program } from './host-user.js'

/**
 * Executes the program next to a background shell that reads descriptor 3, a pipe of this process.
 * When this process exits for any reason, the pipe reports end of file, and the shell kills the
 * process group, including itself.
 */
const SCRIPT = `{ read -r _ <&3; kill -s KILL 0; } </dev/null >/dev/null 2>&1 &
exec 3<&-
exec "$@"`

/**
 * Returns the command of a program that ends together with this process, including its children
 * that stay in the process group. Start it as the leader of a process group (`detached`) with a
 * pipe as descriptor 3; after its end, {@link killGroup} ends the rest.
 */
export function guardGroup({ file, args }: Program): Program {
  return { file: '/bin/sh', args: ['-c', SCRIPT, 'sh', file, ...args] }
}

/** Kills all processes of a group. */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // All processes have ended.
  }
}
