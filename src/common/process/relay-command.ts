import { quoteWord } from './shell-quote.js'

/** Where a server listens: a unix socket, or a port of a host. */
export type ServerAddress = { readonly path: string } | { readonly host: string; readonly port: number }

/**
 * The command of a process that joins the one connection that it is given, as its standard input and output at once, with a server.
 * Its words are split as a shell does; it needs none.
 */
export function relayCommand(server: ServerAddress): string {
  const program = [
    "const { connect, Socket } = require('node:net')",
    'const guest = new Socket({ fd: 0, allowHalfOpen: true })',
    `const server = connect(${JSON.stringify({ ...server, allowHalfOpen: true })})`,
    "for (const side of [guest, server]) side.on('error', () => process.exit())",
    'guest.pipe(server).pipe(guest)',
  ].join('; ')
  // What Node.js would say of its options would go to the other side.
  return ['env', '-u', 'NODE_OPTIONS', process.execPath, '-e', program].map(quoteWord).join(' ')
}
