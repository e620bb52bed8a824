import { createServer, type Server, type Socket } from 'node:net'
import { withDeadline } from '../common/deadline.js'
import { createDeferred, type Deferred } from '../common/deferred.js'
import { formatDuration } from '../common/duration.js'
import { vmError } from '../errors.js'

/**
 * Unix socket on which this process listens before QEMU starts. Each QEMU process connects to it
 * once.
 */
export interface UnixListener {
  readonly path: string
  /**
   * Returns the oldest connection that has not been accepted, or waits for the next one.
   *
   * @throws {InfrastructureError} QEMU_FAILED when QEMU does not connect in time.
   */
  accept(options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined }): Promise<Socket>
  /**
   * Closes connections that have not been accepted: those of a QEMU that ended early, before the
   * next start.
   */
  discard(): Promise<void>
  /** Stops listening and removes the socket. Accepted connections stay open. */
  close(): Promise<void>
}

/**
 * Size of `sun_path` without the final NUL (unix(7); 104 bytes on macOS). Node.js 20 truncates
 * longer paths silently.
 */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103

/** Maximum number of connections; further ones are refused. QEMU opens one at each start. */
const MAX_CONNECTIONS = 8

/**
 * Listens on a unix socket. The listener does not keep the process alive. Bytes that QEMU sends
 * before its connection is accepted are kept.
 *
 * @param options.boundAt path that is bound, and removed when the listener closes. @default `path`
 */
export async function listenUnix(path: string, { boundAt = path } = {}): Promise<UnixListener> {
  const queue: Socket[] = []
  const waiting: Array<Deferred<Socket>> = []
  const server = createServer((socket) => {
    socket.on('error', () => {}) // the death of the peer must not end this process
    const waiter = waiting.shift()
    if (waiter !== undefined) return waiter.resolve(socket)
    socket.unref()
    queue.push(socket)
  })
  server.maxConnections = MAX_CONNECTIONS
  server.unref()
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw listenError(path, 'the path is too long')
  await listen(server, boundAt).catch((cause: Error) => {
    throw listenError(path, cause.message.replaceAll(boundAt, path), cause)
  })

  const discard = async () => {
    // Connections that are pending in the kernel enter the queue.
    await new Promise(setImmediate)
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
      const onTimeout = () => qemuNotConnectedError(path, timeoutMs)
      return withDeadline({ timeoutMs, signal, onTimeout }, () => waiter.promise).finally(() => {
        const index = waiting.indexOf(waiter)
        if (index >= 0) waiting.splice(index, 1)
      })
    },
    close: async () => {
      for (const waiter of waiting.splice(0)) {
        waiter.promise.catch(() => {})
        waiter.reject(listenerClosedError(path))
      }
      for (const socket of queue.splice(0)) socket.destroy()
      // Not awaited: the callback also waits for accepted sockets.
      if (server.listening) server.close()
    },
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(path, resolve)
  })
}

function listenError(path: string, reason: string, cause?: Error): Error {
  return vmError('WORKSPACE_FAILED', {
    summary: `Cannot listen on the unix socket ${path}.`,
    expected: `a path of at most ${MAX_PATH_BYTES} bytes in a writable folder`,
    got: `${reason} (${Buffer.byteLength(path)} bytes)`,
    hint: 'Set TMPDIR to a writable folder with a short path.',
    cause,
  })
}

function qemuNotConnectedError(path: string, timeoutMs: number): Error {
  return vmError('QEMU_FAILED', {
    summary: `QEMU did not connect within ${formatDuration(timeoutMs)}.`,
    expected: `a connection to ${path}`,
    got: 'no connection',
    hint: 'Read the output of QEMU. On a very busy host, raise the timeout.',
  })
}

function listenerClosedError(path: string): Error {
  return vmError('VM_NOT_RUNNING', {
    summary: `The socket ${path} was closed while withvm waited for QEMU to connect.`,
    hint: 'Wait until the guest has started before disposing of it.',
  })
}
