import { createServer, type Server, type Socket } from 'node:net'
import type { ConsoleLogFile } from './console-log-file.js'

export interface RelaySockets {
  /** Unix socket to which QEMU connects the guest's console. */
  readonly guest: string
  /** Unix socket for a terminal. */
  readonly terminal: string
}

/** Serves the console of a guest to one terminal at a time. Logs it at all times. */
export class ConsoleRelay {
  readonly #guests: Server
  readonly #terminals: Server
  #guest: Socket | undefined
  #terminal: Socket | undefined
  #log: ConsoleLogFile | undefined

  private constructor() {
    // Nothing is read before `start()`: until then another process writes the log.
    this.#guests = createServer({ pauseOnConnect: true }, (socket) => this.#takeGuest(socket))
    this.#terminals = createServer((socket) => this.#takeTerminal(socket))
  }

  /** Listens on both sockets. */
  static async listen({ guest, terminal }: RelaySockets): Promise<ConsoleRelay> {
    const relay = new ConsoleRelay()
    await Promise.all([listen(relay.#guests, guest), listen(relay.#terminals, terminal)])
    return relay
  }

  /**
   * Starts to copy the guest's output, including bytes buffered in the socket, to the log and the
   * terminal.
   */
  start(log: ConsoleLogFile): void {
    this.#log = log
    this.#read()
  }

  #takeGuest(socket: Socket): void {
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => this.#terminal?.end())
    this.#guest = socket
    this.#read()
  }

  #read(): void {
    const [guest, log] = [this.#guest, this.#log]
    if (guest === undefined || log === undefined) return
    guest.on('data', (bytes: Buffer) => {
      log.write(bytes)
      // A terminal that does not read blocks the guest, like a serial line. No byte is dropped.
      if (this.#terminal?.write(bytes) === false) guest.pause()
    })
    guest.resume()
  }

  #takeTerminal(socket: Socket): void {
    socket.on('error', () => {}) // 'close' follows
    const guest = this.#guest
    if (guest === undefined || guest.destroyed || this.#log === undefined || this.#terminal !== undefined) {
      socket.destroy()
      return
    }
    this.#terminal = socket
    socket.on('data', (bytes) => guest.write(bytes))
    socket.on('drain', () => guest.resume())
    socket.on('close', () => {
      this.#terminal = undefined
      guest.resume()
    })
  }
}

function listen(server: Server, path: string): Promise<void> {
  server.unref()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}
