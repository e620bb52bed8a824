import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pollUntil } from './poll.js'

/** A lock that this process holds until it is released, or until the process ends in whatever way. */
export interface ProcessLock {
  release(): Promise<void>
}

/**
 * Takes a lock between all processes of this host, or gives undefined when somebody holds it.
 *
 * The lock is a listening socket: in Linux' abstract namespace, so that the kernel itself drops it when its
 * holder is killed, and no file is left that could be stale. Elsewhere it is a socket file, and one that
 * nobody listens on any more counts as free.
 *
 * @param name 1 to 98 characters, no `/` or NUL, no white space.
 * @param onKnock called whenever a process of this host calls {@link knock} with the name.
 */
export async function tryProcessLock(name: string, onKnock?: () => void): Promise<ProcessLock | undefined> {
  const path = lockPath(name)
  const server = await listen(path, onKnock)
  if (server !== undefined) return { release: () => close(server) }
  if (process.platform === 'linux' || (await isAnswering(path))) return undefined
  rmSync(path, { force: true })
  const second = await listen(path, onKnock)
  return second && { release: () => close(second) }
}

/** Lets the holder of a lock know that somebody would like it to act. Whether it does is its own affair. */
export function knock(name: string): Promise<unknown> {
  return isAnswering(lockPath(name))
}

/** The names, beginning so, of the locks that are held on this host now. Linux only: elsewhere there is no such list. */
export function listLockNames(beginning: string): string[] {
  // Of sockets that listen; abstract names are shown with an `@` for each NUL, also behind them (proc(5)).
  const pattern = new RegExp(` 00010000 \\S+ \\S+ +\\d+ @withvm-(${beginning}[^\\s@]+)@*$`, 'gm')
  const listening = readFileSync('/proc/net/unix', 'latin1').matchAll(pattern)
  return [...listening].map(([, name]) => name as string)
}

function lockPath(name: string): string {
  return process.platform === 'linux' ? `\0withvm-${name}` : join(tmpdir(), `withvm-${name}.lock`)
}

/** Waits for the lock. `onWait` is called once if it has to. */
export async function takeProcessLock(
  name: string,
  options: {
    readonly signal?: AbortSignal | undefined
    readonly onWait?: () => void
    /** @default 50 */
    readonly intervalMs?: number
  } = {},
): Promise<ProcessLock> {
  const lock = await tryProcessLock(name)
  if (lock !== undefined) return lock
  options.onWait?.()
  const { intervalMs = 50, signal } = options
  return pollUntil(() => tryProcessLock(name), { intervalMs, signal })
}

/**
 * Names, in 6 hexadecimal digits, the processes that see each other's locks: in Linux those of one network namespace
 * (unix(7)). Containers may share a folder all the same, and must take nothing of each other's for dead.
 */
export function findLockRealm(): string {
  const namespace = process.platform === 'linux' ? readlinkSync('/proc/self/ns/net') : ''
  return createHash('sha256').update(namespace).digest('hex').slice(0, 6)
}

function listen(path: string, onKnock?: () => void): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.destroy()
      onKnock?.()
    })
    server.unref()
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(path, () => resolve(server))
  })
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}
