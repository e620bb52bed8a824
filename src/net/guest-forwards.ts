import { createServer, type Server } from 'node:net'
import type { GuestHandler } from '../spec/options/network.js'

/** Servers of this process for what guests connect to: a unix socket for each function that answers. */
export class GuestHandlers {
  /** Where each function is reached. */
  readonly sockets: ReadonlyMap<GuestHandler, string>
  readonly #servers: readonly Server[]
  readonly #open: ReadonlySet<{ destroy(): void }>

  private constructor(
    sockets: ReadonlyMap<GuestHandler, string>,
    servers: readonly Server[],
    open: ReadonlySet<{ destroy(): void }>,
  ) {
    this.sockets = sockets
    this.#servers = servers
    this.#open = open
  }

  /** @param log is told what a function throws; its connection ends then. */
  static async listen(
    handlers: readonly GuestHandler[],
    place: (name: string) => string,
    log: (line: string) => void,
  ): Promise<GuestHandlers> {
    const open = new Set<{ destroy(): void }>()
    const sockets = new Map(handlers.map((handler, index) => [handler, place(`guestfwd${index}.sock`)]))
    const servers = await Promise.all(
      [...sockets].map(async ([handler, path]) => {
        const server = createServer({ allowHalfOpen: true }, (connection) => {
          open.add(connection)
          connection.on('error', () => {}).on('close', () => open.delete(connection))
          void (async () => handler(connection))().catch((error: unknown) => {
            connection.destroy()
            log(`a function of \`guestfwd\` failed: ${(error as Error)?.message ?? error}`)
          })
        })
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject).listen(path, resolve)
        })
        return server.unref()
      }),
    )
    return new GuestHandlers(sockets, servers, open)
  }

  async close(): Promise<void> {
    for (const connection of this.#open) connection.destroy()
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }
}
