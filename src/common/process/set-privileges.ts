import { realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { vmError } from '../../errors.js'
import { findProgram } from './find-program.js'
import { asUser, type HostUser, type Program } from './host-user.js'

export interface Privileges {
  /** If true, the kernel kills the program when the thread that started it ends, whatever ends that thread. */
  readonly endsWithUs: boolean
  /** The user the program runs as; undefined: the user of this process. */
  readonly user: HostUser | undefined
}

/**
 * Returns the command with the privileges that util-linux' `setpriv` sets before it becomes the program, so that the process id is the
 * program's. QEMU's own options cannot do this: `-run-with exit-with-parent=on` is newer than the oldest supported QEMU, and the kernel
 * drops the tie to the parent when a process changes its user, as `-runas` does; `setpriv` sets the tie after that.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND on Linux without setpriv.
 */
export async function setPrivileges<T extends Program>(
  command: T,
  { endsWithUs, user }: Privileges,
): Promise<T> {
  const tie = endsWithUs ? ['--pdeathsig', 'KILL'] : []
  if (user !== undefined) return { ...command, ...asUser(user, command, tie) }
  if (!endsWithUs || process.platform !== 'linux') return command
  return { ...command, file: await findSetpriv(), args: [...tie, '--', command.file, ...command.args] }
}

/**
 * Returns the command of a helper that ends with this process, also when this process is killed while the helper starts: the kernel
 * sends no signal for a parent that ended before the tie was set, so a shell compares the parent before it becomes the program.
 *
 * @param limits shell commands that limit the program, such as `ulimit -t 2`
 * @throws {InfrastructureError} TOOL_NOT_FOUND on Linux without setpriv.
 */
export function tieHelper(
  { file, args }: Program,
  { limits = [], user }: { readonly limits?: readonly string[]; readonly user?: HostUser | undefined } = {},
): Promise<Program> {
  const script = [`[ "$PPID" = ${process.pid} ] || exit 1`, ...limits, 'exec "$0" "$@"'].join('; ')
  return setPrivileges({ file: '/bin/sh', args: ['-c', script, file, ...args] }, { endsWithUs: true, user })
}

/** BusyBox has a `setpriv` without the tie. */
async function findSetpriv(): Promise<string> {
  const path = await findProgram('setpriv', { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin` })
  const isBusyBox = path !== undefined && basename(await realpath(path)) === 'busybox'
  if (path !== undefined && !isBusyBox) return path
  throw vmError('TOOL_NOT_FOUND', {
    summary: 'The program setpriv, which ends QEMU together with this process, was not found.',
    expected: 'setpriv of util-linux 2.34 or newer on PATH',
    got: isBusyBox ? `${path}, which is BusyBox` : 'no setpriv',
    hint: 'Install util-linux: `apt-get install util-linux`, on Alpine `apk add setpriv`.',
  })
}
