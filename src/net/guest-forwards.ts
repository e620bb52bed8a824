import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { OpenFolder } from '../common/files/open-folder.js'
import type { GuestForwardSpec } from '../spec/guest-forward.js'
import { connectorCommand } from './connector.js'

/** How many connections a guest may have open at one address. One that opens more is refused those. */
const MOST_CONNECTIONS = 64

/** A command that serves one connection. */
interface RunningCommand {
  readonly ended: Promise<void>
  /** Ends it with all that it has started. */
  kill(): void
}

export interface ForwardsOptions {
  /** Where sockets are made: their paths must be short. */
  readonly sockets: OpenFolder
  /** Where programs that QEMU starts are made. */
  readonly programDir: string
  /** Starts a command with the connection as its standard streams. */
  readonly startCommand: (line: string, connection: Socket) => RunningCommand
  /** Receives a line about each answer that fails. */
  readonly log: (line: string) => void
}

/**
 * Answers what a guest connects to at the addresses of `guestfwd`. QEMU starts a small program for each connection, which joins it
 * with a unix socket of this process; so this process bounds how many there are, and ends them.
 */
export class GuestForwards {
  /** What QEMU starts for each connection to an address. */
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
      const isCommand = 'command' in forward.answer
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: isCommand }, (connection) => {
        open.add(connection)
        connection.on('error', () => {}).on('close', () => open.delete(connection))
        answer(forward, connection, { ...options, running })
      })
      server.maxConnections = MOST_CONNECTIONS
      server.once('drop', () => {
        const at = `${forward.address}:${forward.port}`
        tell(options, `the guest has more than ${MOST_CONNECTIONS} connections to ${at}: others are refused`)
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

  /** Ends the commands that still run, with all that they have started. */
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

function answer(
  { answer: how }: GuestForwardSpec,
  connection: Socket,
  options: ForwardsOptions & { readonly running: Set<RunningCommand> },
): void {
  if ('handler' in how) {
    const answering = (async () => how.handler(connection))()
    answering.catch((error: unknown) => {
      connection.destroy()
      tell(options, `a function of \`guestfwd\` failed: ${(error as Error)?.message ?? error}`)
    })
  } else if ('server' in how) {
    joinSockets(connection, connect({ ...how.server, allowHalfOpen: true }))
  } else {
    const command = start(how.command, connection, options)
    if (command === undefined) return
    options.running.add(command)
    const end = () => {
      options.running.delete(command)
      connection.destroy()
    }
    command.ended.then(end, end)
  }
}

function start(line: string, connection: Socket, options: ForwardsOptions): RunningCommand | undefined {
  try {
    return options.startCommand(line, connection)
  } catch (error) {
    connection.destroy()
    tell(options, `the command ${line} of \`guestfwd\` was not started: ${(error as Error).message}`)
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

/** A `log` of the author's that throws must not end a connection's handler. */
function tell({ log }: ForwardsOptions, line: string): void {
  try {
    log(line)
  } catch {
    // It is the author's.
  }
}
