import { findProgram } from '../common/find-program.js'
import { asUser, type HostUser } from '../common/host-user.js'
import type { QemuCommand } from './command.js'

export interface Privileges {
  /** Has the kernel kill the program when the thread that started it goes away, whatever ends that. */
  readonly endsWithUs: boolean
  /** As whom it runs; undefined: as who runs this process. */
  readonly user: HostUser | undefined
}

/**
 * Gives the command with what util-linux' `setpriv` sets before it becomes the program, so that the process id is the program's.
 * For the tie to this process QEMU's own `-run-with exit-with-parent=on` can take its place once the least QEMU has it; for the
 * user its `-runas` cannot: the kernel drops the tie when a process changes its user, and `setpriv` makes it after that.
 */
export async function setPrivileges(
  command: QemuCommand,
  { endsWithUs, user }: Privileges,
): Promise<QemuCommand> {
  const tie = endsWithUs ? ['--pdeathsig', 'KILL'] : []
  if (user !== undefined) return { ...command, ...asUser(user, command, tie) }
  const setpriv = endsWithUs && process.platform === 'linux' ? await findProgram('setpriv') : undefined
  if (setpriv === undefined) return command
  return { ...command, file: setpriv, args: [...tie, '--', command.file, ...command.args] }
}
