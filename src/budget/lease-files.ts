import { createHash } from 'node:crypto'
import { readdirSync, rmSync, utimesSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { combineSignals } from '../common/combine-signals.js'
import { statIfVisible } from '../common/files/safe-parent.js'
import { type ProcessLock, sweepClaims } from '../common/locks/folder-lock.js'
import { keepFileTouched } from '../common/locks/heartbeat.js'
import { currentProcess, livenessOf } from '../common/locks/process-identity.js'
import { takeProcessLock } from '../common/locks/process-lock.js'
import { openRuntimeDir } from '../common/locks/runtime-dir.js'
import { isUnchangedFor } from '../common/locks/staleness.js'
import { type Entry, formatEntry, parseEntries } from './entry.js'

/** Poll interval and timeout of the lock of the budget, in milliseconds. */
const POLL_MS = 3
const LOCK_TIMEOUT_MS = 3000
/**
 * Age, in milliseconds, at which the queue entry of a waiting guest expires. The process of the
 * guest updates the file's mtime at each poll. Longer than LOCK_TIMEOUT_MS, because the process can
 * wait that long for the lock between two polls.
 */
const IDLE_MS = LOCK_TIMEOUT_MS + 2000
/** Maximum length of the path of a Unix socket, bytes (unix(7)). */
const MAX_SOCKET_PATH = 107
const SOCKET_SUFFIX = '.sock'
/** Name of a folder of leases: that of the default pool, or of another one. */
const POOL_FOLDER = /^leases(?:-[0-9a-f]{8})?$/

/**
 * Returns the entries of all guests of this user on this host, and removes entries of processes
 * that have ended.
 *
 * Each entry is a file, named by {@link formatEntry}, in a folder that only this user can access.
 * Returns an empty list if that folder is unavailable; the budget then depends on the free memory
 * of the host alone. A waiting guest whose process is stopped is returned as `blocked`: it must not
 * hold up the queue.
 */
export function readLeases(): Entry[] {
  const folder = openLeaseDir()
  if (folder === undefined) return []
  const paths = new Map<string, string>()
  for (const file of listFiles(folder)) {
    const [name = '', holder] = file.split('~')
    if (holder === undefined) continue
    const liveness = livenessOf(holder)
    if (liveness === 'alive') paths.set(name, join(folder, file))
    else if (liveness === 'dead') removeEntry(folder, name, file)
  }
  const isIdle = (entry: Entry) => isUnchangedFor(paths.get(formatEntry(entry)) ?? '', IDLE_MS)
  return parseEntries([...paths.keys()]).map((entry) =>
    entry.state === 'waiting' && isIdle(entry) ? { ...entry, state: 'blocked' } : entry,
  )
}

/**
 * Returns the entries of all guests of this user on this host, in all pools. For display: removes
 * nothing.
 */
export function readLeasesOfAllPools(): Entry[] {
  const folder = openLeaseDir()
  if (folder === undefined) return []
  const pools = listFiles(dirname(folder)).filter((name) => POOL_FOLDER.test(name))
  const files = pools.flatMap((name) => listFiles(join(dirname(folder), name)))
  const alive = files.filter((file) => livenessOf(file.split('~')[1] ?? '') === 'alive')
  return parseEntries(alive.map((file) => file.split('~', 1)[0] as string))
}

/** Shows other processes that the process of a waiting guest still polls. Never throws. */
export function touchLease(entry: Entry): void {
  const folder = openLeaseDir()
  if (folder === undefined) return
  try {
    const now = new Date()
    utimesSync(leasePath(folder, formatEntry(entry)), now, now)
  } catch {
    // The entry could not be written.
  }
}

/**
 * Writes the entry of a guest. `onEvict` is called when another process needs the memory of the
 * guest.
 */
export async function writeLease(entry: Entry, onEvict?: () => void): Promise<ProcessLock> {
  return writeLeaseNamed(formatEntry(entry), onEvict)
}

/**
 * Writes the entry of a guest, given as text of {@link formatEntry}. Never rejects: if the entry
 * cannot be written, other processes do not count this guest.
 */
export async function writeLeaseNamed(name: string, onEvict?: () => void): Promise<ProcessLock> {
  const folder = openLeaseDir()
  if (folder === undefined) return { release: async () => {} }
  sweepLeasesOnce(folder).catch(() => {}) // the next process retries
  const path = leasePath(folder, name)
  const listener = onEvict === undefined ? undefined : await listenForEviction(folder, name, onEvict)
  try {
    const heartbeat = keepFileTouched(path)
    return {
      release: async () => {
        heartbeat.stop()
        removeFile(path)
        listener?.close()
      },
    }
  } catch {
    listener?.close()
    return { release: async () => {} }
  }
}

/** Requests that a standby is discarded to free its memory. */
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
 * Runs `work` while no other process changes the entries. If the lock is not available within
 * {@link LOCK_TIMEOUT_MS}, runs `work` without it, because a stopped process (SIGSTOP) must not
 * block all others.
 */
export async function withLeaseLock<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const timeout = AbortSignal.timeout(LOCK_TIMEOUT_MS)
  const either = combineSignals(timeout, signal)
  const lock = await takeProcessLock(`leases${poolSuffix()}`, { signal: either, intervalMs: POLL_MS }).catch(
    () => undefined,
  )
  try {
    signal?.throwIfAborted()
    return await work()
  } finally {
    await lock?.release()
  }
}

/**
 * Returns the folder of the leases, undefined if none can be used. `WITHVM_POOL` selects a separate
 * folder, and therefore a separate budget.
 */
function openLeaseDir(): string | undefined {
  return openRuntimeDir(`leases${poolSuffix()}`)
}

function poolSuffix(): string {
  const pool = process.env.WITHVM_POOL ?? ''
  return pool === '' ? '' : `-${digest(pool).slice(0, 8)}`
}

/**
 * Listens for eviction requests. Resolves to undefined if the path of the socket is too long; the
 * guest is then never evicted.
 */
function listenForEviction(folder: string, name: string, onEvict: () => void) {
  return new Promise<{ close: () => void } | undefined>((resolve) => {
    const path = socketPath(folder, name)
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH) return resolve(undefined)
    const server = createServer((socket) => {
      socket.destroy()
      onEvict()
    })
    server.unref()
    server.once('error', () => resolve(undefined))
    server.listen(path, () => resolve({ close: () => void server.close() }))
  })
}

function leasePath(folder: string, name: string): string {
  return join(folder, `${name}~${currentProcess()}`)
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

/**
 * Minimum age of a stale socket, in milliseconds. The entry of a younger socket may not be written
 * yet.
 */
const STALE_SOCKET_MS = 60_000

const swept = new Set<string>()

/**
 * Removes, once in a process, the entries and sockets of killed processes, including earlier boots
 * and other containers.
 */
async function sweepLeasesOnce(folder: string): Promise<void> {
  if (swept.has(folder)) return
  swept.add(folder)
  sweepClaims(folder)
  const files = listFiles(folder)
  const expected = new Set(files.map((file) => socketPath(folder, file.split('~', 1)[0] as string)))
  const sockets = files.filter((file) => file.endsWith(SOCKET_SUFFIX)).map((file) => join(folder, file))
  for (const path of sockets) {
    const ageMs = Date.now() - (statIfVisible(path)?.mtimeMs ?? Number.POSITIVE_INFINITY)
    if (expected.has(path) || ageMs < STALE_SOCKET_MS) continue
    if (await isStale(path)) removeFile(path)
  }
}

/** Resolves to true if no process listens on the socket. */
function isStale(path: string): Promise<boolean> {
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
