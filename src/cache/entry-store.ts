import { rmSync } from 'node:fs'
import { access, lstat, mkdir, readdir, rename, rm, rmdir, stat, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Heartbeat, keepFileTouched } from '../common/locks/heartbeat.js'
import { currentProcess, livenessOf } from '../common/locks/process-identity.js'
import { readStaleness, recheckLater, type Staleness } from '../common/locks/staleness.js'
import { newBuildPath, sweepBuilds } from './entry-lock.js'
import { readEntryRecord } from './entry-manifest.js'

/**
 * Folder next to the entries with a subfolder for each entry and a marker file for each process
 * that uses it.
 */
const USERS = '.users'

/** Entry of a folder of the cache. */
export interface EntryInfo {
  readonly name: string
  /** Space on the disk; files may be sparse. */
  readonly bytes: number
  readonly lastUsed: Date
  /** True if a running process has used the entry since it started. */
  readonly isInUse: boolean
  /** Entry that this one is a layer on top of. @default none */
  readonly below?: string | undefined
}

/** Heartbeats by the path of the marker. */
const used = new Map<string, Heartbeat>()

/**
 * Removes the markers at exit. Otherwise other containers and hosts would treat this process as
 * alive for an hour.
 */
process.on('exit', () => {
  for (const marker of used.keys()) rmSync(marker, { force: true })
})

/**
 * Marks an entry of the folder `root` as used by this process until the process ends, which
 * protects it from removal. Call it before looking up the entry: an entry that is removed at that
 * moment is then not found.
 */
export async function markEntryUsed(root: string, name: string): Promise<void> {
  const folder = join(root, USERS, name)
  try {
    await mkdir(folder, { recursive: true })
    const now = new Date()
    await utimes(folder, now, now)
    const marker = join(folder, currentProcess())
    if (used.has(marker) && (await exists(marker))) return
    used.get(marker)?.stop() // its marker was removed
    used.delete(marker)
    used.set(marker, keepFileTouched(marker))
  } catch {
    // In a read-only cache nothing is removed either.
  }
}

/** Removes an unusable entry unless another process uses it. Returns true if it was removed. */
export function discardEntry(root: string, name: string): Promise<boolean> {
  return removeUnusedEntry(root, name, currentProcess())
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Returns all entries of a folder, the most recently used first. */
export async function listEntries(root: string): Promise<EntryInfo[]> {
  const names = (await readdir(root).catch(() => [])).filter((name) => !name.startsWith('.'))
  const infos = await Promise.all(names.map((name) => readEntryInfo(root, name).catch(() => undefined)))
  return infos
    .filter((info) => info !== undefined)
    .sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime())
}

/**
 * Returns true if an entry counts as in use only because a marker of another container or host must
 * be observed twice. Starts to observe these markers: {@link RECHECK_MS} later it is known
 * whether their processes are alive.
 */
export async function hasStaleUsers(root: string, names?: readonly string[]): Promise<boolean> {
  let found = false
  for (const name of names ?? (await readdir(join(root, USERS)).catch(() => []))) {
    const folder = join(root, USERS, name)
    const markers = await readdir(folder).catch(() => [])
    found = markers.map((marker) => readMarker(folder, marker)).includes('stale') || found
  }
  return found
}

/**
 * Removes the markers of processes that have ended. A marker of another container or host is
 * removed after a second check, {@link RECHECK_MS} later, if this process is still running then.
 */
export async function sweepMarkers(root: string): Promise<void> {
  const users = join(root, USERS)
  const hasStale = await hasStaleUsers(root)
  for (const name of await readdir(users).catch(() => [])) await hasUsers(root, name)
  if (hasStale) recheckLater(users, () => sweepMarkers(root))
}

/**
 * Removes existing entries. Returns the names of those that running processes use, which are kept.
 */
export async function removeEntries(root: string, names: readonly string[]): Promise<string[]> {
  const kept: string[] = []
  for (const name of names) if (!(await removeUnusedEntry(root, name))) kept.push(name)
  return kept
}

/**
 * Removes the least recently used entries until the others take no more than `maxBytes`. Entries
 * in use, the entry `keep`, and entries below a remaining layer are kept.
 * @returns the names of the removed entries.
 */
export async function pruneEntries(
  root: string,
  { maxBytes, keep }: { readonly maxBytes: number; readonly keep?: string | undefined },
): Promise<string[]> {
  await sweepBuilds(root)
  const entries = (await listEntries(root)).reverse()
  let bytes = entries.reduce((total, entry) => total + entry.bytes, 0)
  const removed: string[] = []
  const candidates = entries.filter(({ isInUse, name }) => !isInUse && name !== keep)
  while (bytes > maxBytes) {
    const entry = candidates.find(({ name }) => !isBelow(name, entries))
    if (entry === undefined) break
    candidates.splice(candidates.indexOf(entry), 1)
    if (!(await removeUnusedEntry(root, entry.name))) continue
    entries.splice(entries.indexOf(entry), 1)
    bytes -= entry.bytes
    removed.push(entry.name)
  }
  return removed
}

/** Returns true if an entry is the base of a layer. */
export function isBelow(name: string, entries: readonly EntryInfo[]): boolean {
  return entries.some(({ below }) => below === name)
}

/** Returns the space that the files of an entry take on the disk. */
export async function readEntryBytes(dir: string): Promise<number> {
  const files = await readdir(dir)
  const stats = await Promise.all(files.map((file) => lstat(join(dir, file))))
  return stats.reduce((total, { blocks }) => total + blocks * 512, 0)
}

async function readEntryInfo(root: string, name: string): Promise<EntryInfo> {
  const dir = join(root, name)
  const bytes = await readEntryBytes(dir)
  const folder = await stat(join(root, USERS, name)).catch(() => stat(dir))
  const layer = (await readEntryRecord(dir).catch(() => undefined))?.layer
  return {
    name,
    bytes,
    lastUsed: folder.mtime,
    isInUse: await hasUsers(root, name),
    ...(layer !== undefined && { below: basename(dirname(layer.below)) }),
  }
}

/**
 * Renames an entry before removing it. A process that opens the entry in the meantime builds it
 * again; if another process has marked the entry as used, the rename is undone.
 */
async function removeUnusedEntry(root: string, name: string, except?: string): Promise<boolean> {
  if (await hasUsers(root, name, except)) return false
  const away = newBuildPath(root, name)
  try {
    await rename(join(root, name), away)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Another process has removed it.
    if (code === 'ENOENT') return true
    // overlayfs cannot rename a folder of a lower layer, as in a container's image.
    if (code !== 'EXDEV') throw error
    await rm(join(root, name), { recursive: true, force: true })
    return true
  }
  if (await hasUsers(root, name, except)) {
    await rename(away, join(root, name)).catch(() => rm(away, { recursive: true, force: true }))
    return false
  }
  await rm(away, { recursive: true, force: true })
  // Not recursively: a process may have marked the entry in the meantime, to build it again.
  await rmdir(join(root, USERS, name)).catch(() => {})
  return true
}

/**
 * Time without a touch after which the marker of a process of another host or container counts as
 * stale, in milliseconds.
 */
const FOREIGN_USER_MS = 60 * 60_000

/**
 * Returns true if another live process marked an entry as used before the last change of its files:
 * guests of that process may still read the old files. A process that marked the entry afterwards
 * has found it incomplete and does not use it. Returns false if the entry does not exist.
 */
export async function hasEarlierUsers(root: string, name: string): Promise<boolean> {
  const changedMs = await readChangeTime(join(root, name))
  if (changedMs === undefined) return false
  for (const marker of await listUsers(root, name, currentProcess())) {
    // The file system stamps both times, with the same clock.
    const { birthtimeMs } = await stat(marker).catch(() => ({ birthtimeMs: Number.POSITIVE_INFINITY }))
    if (birthtimeMs <= changedMs) return true
  }
  return false
}

/**
 * Returns the time of the last change (ctime) of a folder and its files; undefined if the folder
 * does not exist.
 */
async function readChangeTime(dir: string): Promise<number | undefined> {
  const files = await readdir(dir).catch(() => undefined)
  if (files === undefined) return undefined
  const stats = await Promise.all([dir, ...files.map((file) => join(dir, file))].map((path) => lstat(path)))
  return Math.max(...stats.map(({ ctimeMs }) => ctimeMs))
}

/** Returns true if a live process other than `except` uses an entry. */
async function hasUsers(root: string, name: string, except?: string): Promise<boolean> {
  return (await listUsers(root, name, except)).length > 0
}

/**
 * Lists the markers of live processes other than `except`. Markers of dead processes are removed.
 */
async function listUsers(root: string, name: string, except?: string): Promise<string[]> {
  const folder = join(root, USERS, name)
  const found: string[] = []
  for (const marker of await readdir(folder).catch(() => [])) {
    if (marker === except) continue
    const path = join(folder, marker)
    if (readMarker(folder, marker) === 'abandoned') await rm(path, { force: true })
    else found.push(path)
  }
  return found
}

function readMarker(folder: string, marker: string): Staleness {
  const liveness = livenessOf(marker)
  if (liveness === 'unknown') return readStaleness(join(folder, marker), FOREIGN_USER_MS)
  return liveness === 'alive' ? 'fresh' : 'abandoned'
}
