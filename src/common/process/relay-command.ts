import { quoteWord } from './shell-quote.js'

/** Address of a server: a unix socket, or a port of a host. */
export type ServerAddress = { readonly path: string } | { readonly host: string; readonly port: number }

/**
 * Returns the command of a process that relays its connection (standard input and output) to a
 * server. The command is split into words like a shell command, but needs no shell.
 */
export function relayCommand(server: ServerAddress): string {
  const program = [
    "const { connect, Socket } = require('node:net')",
    'const guest = new Socket({ fd: 0, allowHalfOpen: true })',
    `const server = connect(${JSON.stringify({ ...server, allowHalfOpen: true })})`,
    "for (const side of [guest, server]) side.on('error', () => process.exit())",
    'guest.pipe(server).pipe(guest)',
  ].join('; ')
  // Messages of Node.js about NODE_OPTIONS would be sent to the peer.
  return ['env', '-u', 'NODE_OPTIONS', process.execPath, '-e', program].map(quoteWord).join(' ')
}
