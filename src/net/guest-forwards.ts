import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'
import type { GuestForwardSpec } from '../spec/guest-forward.js'
import { connectorCommand } from './connector.js'

/** Maximum number of open connections to one address. Further connections are refused. */
const MAX_CONNECTIONS = 64

/** Command that serves one connection. */
interface RunningCommand {
  readonly ended: Promise<void>
  /** Kills the command and all processes that it has started. */
  kill(): void
}

export interface ForwardsOptions {
  /** Folder for sockets. Its path must be short. */
  readonly sockets: OpenFolder
  /** Folder for programs that QEMU starts. */
  readonly programDir: string
  /** Starts a command with the connection as its standard streams. */
  readonly startCommand: (line: string, connection: Socket) => RunningCommand
  /** Receives a message about each handler, server or command that fails. */
  readonly log: (line: string) => void
}

/**
 * Serves connections of a guest to the addresses of `guestfwd`. QEMU starts a small program for
 * each connection, which forwards it to a unix socket of this process. So this process limits the
 * number of connections and ends them.
 */
export class GuestForwards {
  /** Command that QEMU starts for each connection to an address. */
  readonly commands: ReadonlyMap<GuestForwardSpec, string>
  readonly #servers: readonly Server[]
  readonly #open: ReadonlySet<Socket>
  readonly #running: ReadonlySet<RunningCommand>

  private constructor(
    commands: ReadonlyMap<GuestForwardSpec, string>,
    parts: {
      readonly servers: readonly Server[]
      readonly open: ReadonlySet<Socket>
      readonly running: ReadonlySet<RunningCommand>
    },
  ) {
    this.commands = commands
    this.#servers = parts.servers
    this.#open = parts.open
    this.#running = parts.running
  }

  static async listen(
    forwards: readonly GuestForwardSpec[],
    options: ForwardsOptions,
  ): Promise<GuestForwards> {
    const open = new Set<Socket>()
    const running = new Set<RunningCommand>()
    const servers: Server[] = []
    const commands = new Map<GuestForwardSpec, string>()
    const answers = new GuestForwards(commands, { servers, open, running })
    for (const [index, forward] of forwards.entries()) {
      const socket = `fwd${index}.sock`
      const isCommand = 'command' in forward.service
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: isCommand }, (connection) => {
        open.add(connection)
        connection.on('error', () => {}).on('close', () => open.delete(connection))
        answerConnection(forward, connection, { ...options, running })
      })
      server.maxConnections = MAX_CONNECTIONS
      server.once('drop', () => {
        const at = `${forward.address}:${forward.port}`
        logSafely(
          options,
          `the guest has ${MAX_CONNECTIONS} connections to ${at}: further connections are refused`,
        )
      })
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(options.sockets.entry(socket), resolve)
      })
      servers.push(server.unref())
      const program = join(options.programDir, `forward-${index}`)
      commands.set(forward, await connectorCommand({ socket: join(options.sockets.path, socket), program }))
    }
    return answers
  }

  /** Kills running commands and all processes that they have started. */
  async endCommands(): Promise<void> {
    const running = [...this.#running]
    for (const command of running) command.kill()
    await Promise.all(running.map(({ ended }) => ended))
  }

  async close(): Promise<void> {
    for (const connection of this.#open) connection.destroy()
    await this.endCommands()
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }
}

function answerConnection(
  { service: how }: GuestForwardSpec,
  connection: Socket,
  options: ForwardsOptions & { readonly running: Set<RunningCommand> },
): void {
  if ('handler' in how) {
    const answering = (async () => how.handler(connection))()
    answering.catch((error: unknown) => {
      connection.destroy()
      logSafely(options, `a function of \`guestfwd\` failed: ${(error as Error)?.message ?? error}`)
    })
  } else if ('server' in how) {
    joinSockets(connection, connect({ ...how.server, allowHalfOpen: true }))
  } else {
    const command = startForwardCommand(how.command, connection, options)
    if (command === undefined) return
    options.running.add(command)
    const end = () => {
      options.running.delete(command)
      connection.destroy()
    }
    command.ended.then(end, end)
  }
}

function startForwardCommand(
  line: string,
  connection: Socket,
  options: ForwardsOptions,
): RunningCommand | undefined {
  try {
    return options.startCommand(line, connection)
  } catch (error) {
    connection.destroy()
    logSafely(
      options,
      `the command ${line} of \`guestfwd\` could not be started: ${(error as Error).message}`,
    )
    return undefined
  }
}

function joinSockets(guest: Socket, server: Socket): void {
  for (const [side, other] of [
    [guest, server],
    [server, guest],
  ] as const) {
    side.on('error', () => other.destroy()).on('close', () => other.destroySoon())
    side.pipe(other)
  }
}

/**
 * Logs a message. Ignores errors of the author's `log`: they must not end the handler of a
 * connection.
 */
function logSafely({ log }: ForwardsOptions, line: string): void {
  try {
    log(line)
  } catch {}
}
