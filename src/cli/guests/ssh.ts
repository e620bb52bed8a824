import { findResponsiveGuest } from './find-guest.js'
import { type LoginFlags, logIn } from './login.js'
import { passThrough } from './remote-command.js'
import { attachShell, readTerminal } from './terminal.js'

/**
 * Runs `withvm ssh`: opens a shell in a running guest, or runs one command. Returns its exit code.
 */
export async function openSsh(name: string, command: readonly string[], flags: LoginFlags): Promise<number> {
  const client = await logIn(await findResponsiveGuest(name), flags)
  try {
    if (command.length > 0) return await passThrough((text, options) => client.exec(text, options), command)
    // As with ssh(1): if stdin is not a terminal, it is a script.
    if (!process.stdin.isTTY) return await passThrough((text, options) => client.exec(text, options), ['sh'])
    return await attachShell(await client.shell(readTerminal()))
  } finally {
    client.close()
  }
}
