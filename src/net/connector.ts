import { constants } from 'node:fs'
import { access, writeFile } from 'node:fs/promises'
import { relayCommand } from '../common/process/relay-command.js'
import { quoteWord } from '../common/process/shell-quote.js'
import { buildConnector } from './connector-program.js'

/**
 * Returns the command that forwards one connection of a guest to a unix socket, for QEMU's
 * `guestfwd=…-cmd:`. It is a program of a few hundred bytes that is written to `program`. On
 * processors other than x86-64, and on file systems mounted with `noexec`, Node.js is used instead.
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
