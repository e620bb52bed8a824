import { findProgram } from '../common/find-program.js'
import type { QemuCommand } from './command.js'

/**
 * Lets the kernel kill a program when the thread that started it goes away, whatever ends it. util-linux'
 * `setpriv` sets that and then becomes the program, so that the process id is the program's. For QEMU it can go once
 * the least QEMU has `-run-with exit-with-parent=on`.
 */
export async function tieToParent(command: QemuCommand): Promise<QemuCommand> {
  const setpriv = process.platform === 'linux' ? await findProgram('setpriv') : undefined
  if (setpriv === undefined) return command
  return { ...command, file: setpriv, args: ['--pdeathsig', 'KILL', '--', command.file, ...command.args] }
}
