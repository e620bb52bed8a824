import { constants } from 'node:fs'
import { access, writeFile } from 'node:fs/promises'
import { relayCommand } from '../common/process/relay-command.js'
import { quoteWord } from '../common/process/shell-quote.js'
import { buildConnector } from './connector-program.js'

/**
 * Returns the command that joins one connection of a guest with a unix socket, for QEMU's `guestfwd=…-cmd:`. Where it can run, it is a
 * program of a few hundred bytes, which is written to `program`; on other processors than x86-64, and where the file system is mounted
 * with `noexec`, it is a Node.js.
 */
export async function connectorCommand({
  socket,
  program,
}: {
  readonly socket: string
  readonly program: string
}): Promise<string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return relayCommand({ path: socket })
  await writeFile(program, buildConnector(socket), { mode: 0o700, flag: 'wx' })
  const isRunnable = await access(program, constants.X_OK).then(
    () => true,
    () => false,
  )
  return isRunnable ? quoteWord(program) : relayCommand({ path: socket })
}
