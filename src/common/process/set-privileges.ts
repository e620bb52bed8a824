import { realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { vmError } from '../../errors.js'
import { asUser, type StartArguments, type StartOptions } from './as-user.js'
import { findProgram } from './find-program.js'
import type { HostUser, Program } from './host-user.js'

export interface Privileges {
  /** If true, the kernel kills the program when the thread that started it ends in any way. */
  readonly endsWithParent: boolean
  /** User that the program runs as; undefined for the user of this process. */
  readonly user: HostUser | undefined
}

/**
 * Returns the arguments of execa that start a program with privileges set by `setpriv` of
 * util-linux, which then executes the program under the same process id. QEMU's own options cannot
 * do this: `-run-with exit-with-parent=on` is newer than the oldest supported QEMU. And the kernel
 * clears the parent-death signal when a process changes its user, as `-runas` does; `setpriv` sets
 * the signal after that.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND on Linux without setpriv.
 */
export async function setPrivileges<T extends StartOptions>(
  { file, args }: Program,
  { endsWithParent, user }: Privileges,
  options: T,
): Promise<StartArguments<T>> {
  const deathSignal = endsWithParent ? ['--pdeathsig', 'KILL'] : []
  if (user !== undefined) return asUser(user, { file, args }, options, deathSignal)
  if (!endsWithParent || process.platform !== 'linux') return [file, args, options]
  return [await findSetpriv(), [...deathSignal, '--', file, ...args], options]
}

/**
 * Returns the arguments of execa that start a helper, which ends with this process even if this
 * process is killed while the helper starts. The kernel sends no signal for a parent that ended
 * before the signal was set, so a shell compares the parent before it executes the program.
 *
 * @param limits shell commands that limit the program, for example `ulimit -t 2`
 * @throws {InfrastructureError} TOOL_NOT_FOUND on Linux without setpriv.
 */
export function tieHelper<T extends StartOptions>(
  { file, args }: Program,
  options: T,
  { limits = [], user }: { readonly limits?: readonly string[]; readonly user?: HostUser | undefined } = {},
): Promise<StartArguments<T>> {
  const script = [`[ "$PPID" = ${process.pid} ] || exit 1`, ...limits, 'exec "$0" "$@"'].join('; ')
  return setPrivileges(
    { file: '/bin/sh', args: ['-c', script, file, ...args] },
    { endsWithParent: true, user },
    options,
  )
}

/** Finds setpriv of util-linux; that of BusyBox does not support the parent-death signal. */
async function findSetpriv(): Promise<string> {
  const path = await findProgram('setpriv', { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin` })
  const isBusyBox = path !== undefined && basename(await realpath(path)) === 'busybox'
  if (path !== undefined && !isBusyBox) return path
  throw vmError('TOOL_NOT_FOUND', {
    summary: 'The program setpriv was not found. It is needed to kill QEMU when the test process dies.',
    expected: 'setpriv of util-linux 2.34 or newer on PATH',
    got: isBusyBox ? `${path}, which is BusyBox` : 'no setpriv',
    hint: 'Install util-linux: `apt-get install util-linux`, on Alpine `apk add setpriv`.',
  })
}
