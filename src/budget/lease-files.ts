import { createHash } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { statIfVisible } from '../common/files/safe-parent.js'
import { type ProcessLock, sweepClaims } from '../common/locks/folder-lock.js'
import { keepFileTouched } from '../common/locks/heartbeat.js'
import { currentProcess, livenessOf } from '../common/locks/process-identity.js'
import { takeProcessLock } from '../common/locks/process-lock.js'
import { openRuntimeDir } from '../common/locks/runtime-dir.js'
import { type Entry, formatEntry, parseEntries } from './entry.js'

/** Interval at which a waiting process polls the ledger, and the longest wait for it, milliseconds. */
const POLL_MS = 3
const LOCK_WAIT_MS = 3000
/** The longest path that a unix socket can have (unix(7)). */
const SOCKET_PATH_MOST = 107
const SOCKET_SUFFIX = '.sock'

/**
 * Returns all guests of this user on this host. Each is a file whose name has all of it, in a folder that only this user can enter; one
 * whose process has ended is removed. Empty where this user has no such folder: then the host's free memory is all there is to go by.
 */
export function readLeases(): Entry[] {
  const folder = openLeaseDir()
  if (folder === undefined) return []
  const names: string[] = []
  for (const file of listFiles(folder)) {
    const [name = '', holder] = file.split('~')
    if (holder === undefined) continue
    const liveness = livenessOf(holder)
    if (liveness === 'alive') names.push(name)
    else if (liveness === 'dead') removeEntry(folder, name, file)
  }
  return parseEntries(names)
}

/** Enters a guest. `onKnock` is called when another process needs its memory. */
export async function writeLease(entry: Entry, onKnock?: () => void): Promise<ProcessLock> {
  return writeLeaseNamed(formatEntry(entry), onKnock)
}

/**
 * Enters a guest by the text that stands for it, as {@link formatEntry} writes it. Never rejects: an entry that cannot be written only
 * means that other processes do not count this guest.
 */
export async function writeLeaseNamed(name: string, onKnock?: () => void): Promise<ProcessLock> {
  const folder = openLeaseDir()
  if (folder === undefined) return { release: async () => {} }
  sweepOnce(folder).catch(() => {}) // the next process tries again
  const path = join(folder, `${name}~${currentProcess()}`)
  const knocks = onKnock === undefined ? undefined : await listenForEviction(folder, name, onKnock)
  try {
    const heartbeat = keepFileTouched(path)
    return {
      release: async () => {
        heartbeat.stop()
        removeFile(path)
        knocks?.close()
      },
    }
  } catch {
    knocks?.close()
    return { release: async () => {} }
  }
}

/** Asks a standby to give up its memory. */
export function requestEviction(entry: Entry): Promise<void> {
  const folder = openLeaseDir()
  return new Promise((resolve) => {
    if (folder === undefined) return resolve()
    const socket = connect(socketPath(folder, formatEntry(entry)))
    socket.once('connect', () => socket.destroy()).once('error', () => {})
    socket.once('close', () => resolve())
  })
}

/**
 * Runs `work` while no other process changes the ledger. A process that was stopped in the middle of it must not hold up
 * all others: after some seconds it is not waited for.
 */
export async function withLeaseLock<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const patience = AbortSignal.timeout(LOCK_WAIT_MS)
  const either = signal === undefined ? patience : AbortSignal.any([patience, signal])
  const lock = await takeProcessLock(`ledger${poolSuffix()}`, { signal: either, intervalMs: POLL_MS }).catch(
    () => undefined,
  )
  try {
    signal?.throwIfAborted()
    return await work()
  } finally {
    await lock?.release()
  }
}

/** Processes with the same `WITHVM_POOL` share a ledger; without one, all processes of this user do. */
function openLeaseDir(): string | undefined {
  return openRuntimeDir(`leases${poolSuffix()}`)
}

function poolSuffix(): string {
  const pool = process.env.WITHVM_POOL ?? ''
  return pool === '' ? '' : `-${digest(pool).slice(0, 8)}`
}

/** Resolves to undefined where the path of the socket would be too long: then this guest is not asked. */
function listenForEviction(folder: string, name: string, onKnock: () => void) {
  return new Promise<{ close: () => void } | undefined>((resolve) => {
    const path = socketPath(folder, name)
    if (Buffer.byteLength(path) > SOCKET_PATH_MOST) return resolve(undefined)
    const server = createServer((socket) => {
      socket.destroy()
      onKnock()
    })
    server.unref()
    server.once('error', () => resolve(undefined))
    server.listen(path, () => resolve({ close: () => void server.close() }))
  })
}

function socketPath(folder: string, name: string): string {
  return join(folder, `${digest(name).slice(0, 16)}${SOCKET_SUFFIX}`)
}

function removeEntry(folder: string, name: string, file: string): void {
  removeFile(join(folder, file))
  removeFile(socketPath(folder, name))
}

function removeFile(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // The file system became read-only.
  }
}

/** Processes create the socket just before the entry: a younger socket without an entry may be about to get one, milliseconds. */
const SOCKET_SETTLE_MS = 60_000

const swept = new Set<string>()

/** Removes, once in a process, the entries and sockets of processes that were killed, also of earlier boots and other containers. */
async function sweepOnce(folder: string): Promise<void> {
  if (swept.has(folder)) return
  swept.add(folder)
  sweepClaims(folder)
  const files = listFiles(folder)
  const entered = new Set(files.map((file) => socketPath(folder, file.split('~', 1)[0] as string)))
  const sockets = files.filter((file) => file.endsWith(SOCKET_SUFFIX)).map((file) => join(folder, file))
  for (const path of sockets) {
    const ageMs = Date.now() - (statIfVisible(path)?.mtimeMs ?? Number.POSITIVE_INFINITY)
    if (entered.has(path) || ageMs < SOCKET_SETTLE_MS) continue
    if (await isDeserted(path)) removeFile(path)
  }
}

/** Resolves to whether nobody listens on a socket. */
function isDeserted(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
  })
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
