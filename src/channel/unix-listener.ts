import { createServer, type Server, type Socket } from 'node:net'
import { withDeadline } from '../common/deadline.js'
import { createDeferred, type Deferred } from '../common/deferred.js'
import { formatDuration } from '../common/duration.js'
import { vmError } from '../errors.js'

/** A unix socket on which the harness listens before QEMU starts. Each start of QEMU connects to it once. */
export interface UnixListener {
  readonly path: string
  /**
   * Gives the oldest connection that nobody has taken, or waits for the next.
   *
   * @throws {InfrastructureError} QEMU_FAILED when none comes in time.
   */
  accept(options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined }): Promise<Socket>
  /** Drops the connections that nobody has taken: what a QEMU that ended early left, before the next starts. */
  discard(): Promise<void>
  /** Stops listening and removes the socket. Connections that were accepted stay. */
  close(): Promise<void>
}

/** What `sun_path` holds beside its final NUL (unix(7); 104 bytes on macOS). Node 20 cuts a longer path silently. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103

/** QEMU opens one at each start. What else connects is refused. */
const MOST_CONNECTIONS = 8

/**
 * Listens on a unix socket. The listener alone does not keep the process alive, and no byte is lost that
 * QEMU writes before its connection is taken.
 *
 * @param options.boundAt path by which the socket is made, and removed when the listener closes. @default `path`
 */
export async function listenUnix(path: string, { boundAt = path } = {}): Promise<UnixListener> {
  const queue: Socket[] = []
  const waiting: Array<Deferred<Socket>> = []
  const server = createServer((socket) => {
    socket.on('error', () => {}) // a peer that was killed must not end this process
    const waiter = waiting.shift()
    if (waiter !== undefined) return waiter.resolve(socket)
    socket.unref()
    queue.push(socket)
  })
  server.maxConnections = MOST_CONNECTIONS
  server.unref()
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw cannotListen(path, 'the path is too long')
  await listen(server, boundAt).catch((cause: Error) => {
    throw cannotListen(path, cause.message.replaceAll(boundAt, path), cause)
  })

  const discard = async () => {
    await new Promise(setImmediate) // one turn, so that what waits in the kernel is in the queue too
    for (const socket of queue.splice(0)) socket.destroy()
  }
  return {
    path,
    discard,
    accept: ({ timeoutMs, signal }) => {
      const next = queue.shift()
      if (next !== undefined) return Promise.resolve(next.ref())
      const waiter = createDeferred<Socket>()
      waiting.push(waiter)
      const onTimeout = () => notConnected(path, timeoutMs)
      return withDeadline({ timeoutMs, signal, onTimeout }, () => waiter.promise).finally(() => {
        const index = waiting.indexOf(waiter)
        if (index >= 0) waiting.splice(index, 1)
      })
    },
    close: async () => {
      for (const waiter of waiting.splice(0)) {
        waiter.promise.catch(() => {})
        waiter.reject(closed(path))
      }
      for (const socket of queue.splice(0)) socket.destroy()
      if (server.listening) server.close() // its callback would wait for the accepted sockets as well
    },
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(path, resolve)
  })
}

function cannotListen(path: string, reason: string, cause?: Error): Error {
  return vmError('WORKSPACE_FAILED', {
    summary: `cannot listen on the unix socket ${path}`,
    expected: `a path of at most ${MAX_PATH_BYTES} bytes in a folder that is writable`,
    got: `${reason} (${Buffer.byteLength(path)} bytes)`,
    hint: 'Point TMPDIR at a directory that is writable and has a short path.',
    cause,
  })
}

function notConnected(path: string, timeoutMs: number): Error {
  return vmError('QEMU_FAILED', {
    summary: `QEMU did not connect within ${formatDuration(timeoutMs)}`,
    expected: `a connection to ${path}`,
    got: 'none',
    hint: "See QEMU's own output; on a very busy host give it more time.",
  })
}

function closed(path: string): Error {
  return vmError('VM_NOT_RUNNING', {
    summary: `the socket ${path} was closed while it waited for QEMU`,
    hint: 'Do not dispose of the guest while it starts.',
  })
}
