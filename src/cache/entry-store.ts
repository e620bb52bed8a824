import { access, mkdir, readdir, rename, rm, rmdir, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { type Heartbeat, keepFileTouched } from '../common/locks/heartbeat.js'
import { currentProcess, livenessOf } from '../common/locks/process-identity.js'
import { readStaleness, type Staleness } from '../common/locks/staleness.js'
import { newBuildPath, sweepBuilds } from './entry-lock.js'

/** Beside the entries of a folder of the cache: for each a folder with a file for each process that uses it. */
const USERS = '.users'

/** An entry of a folder of the cache. */
export interface EntryInfo {
  readonly name: string
  /** What it takes on the disk: its files may have holes. */
  readonly bytes: number
  readonly lastUsed: Date
  /** Whether a process that runs has guests of it, or had. */
  readonly isInUse: boolean
}

/** By the path of the marker. */
const used = new Map<string, Heartbeat>()

/**
 * Notes that this process uses an entry of the folder `root`, until it ends: nobody removes it meanwhile. Call it before
 * looking for the entry: what is removed then is removed before it is found.
 */
export async function markEntryUsed(root: string, name: string): Promise<void> {
  const folder = join(root, USERS, name)
  try {
    await mkdir(folder, { recursive: true })
    const now = new Date()
    await utimes(folder, now, now)
    const marker = join(folder, currentProcess())
    if (used.has(marker) && (await exists(marker))) return
    used.get(marker)?.stop() // it holds the marker that was removed
    used.delete(marker)
    used.set(marker, keepFileTouched(marker))
  } catch {
    // A cache that cannot be written to is not tidied up either.
  }
}

/** Removes an entry that cannot be used, unless another process uses it. Returns whether it is gone. */
export function discardEntry(root: string, name: string): Promise<boolean> {
  return remove(root, name, currentProcess())
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** All entries of a folder, the one that was used last first. */
export async function listEntries(root: string): Promise<EntryInfo[]> {
  const names = (await readdir(root).catch(() => [])).filter((name) => !name.startsWith('.'))
  const infos = await Promise.all(names.map((name) => inspect(root, name).catch(() => undefined)))
  return infos
    .filter((info) => info !== undefined)
    .sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime())
}

/**
 * Returns whether an entry counts as in use only because one look at a marker of another container or host is not enough, and begins to
 * observe these markers: {@link SECOND_LOOK_MS} later it is known whether their processes are alive.
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

/** Removes entries that there are. Gives the names of those that stayed, for a running process uses them. */
export async function removeEntries(root: string, names: readonly string[]): Promise<string[]> {
  const kept: string[] = []
  for (const name of names) if (!(await remove(root, name))) kept.push(name)
  return kept
}

/**
 * Removes those that were not used for longest, until the others take no more than `mostBytes`. Those in use stay, and
 * the one that is named by `keep`.
 * @returns the names of those that were removed.
 */
export async function pruneEntries(
  root: string,
  { mostBytes, keep }: { readonly mostBytes: number; readonly keep?: string | undefined },
): Promise<string[]> {
  await sweepBuilds(root)
  const entries = await listEntries(root)
  let bytes = entries.reduce((total, entry) => total + entry.bytes, 0)
  const removed: string[] = []
  for (const entry of entries.reverse()) {
    if (bytes <= mostBytes) break
    if (entry.isInUse || entry.name === keep || !(await remove(root, entry.name))) continue
    bytes -= entry.bytes
    removed.push(entry.name)
  }
  return removed
}

async function inspect(root: string, name: string): Promise<EntryInfo> {
  const dir = join(root, name)
  const files = await readdir(dir)
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(dir, file))).blocks * 512))
  const folder = await stat(join(root, USERS, name)).catch(() => stat(dir))
  return {
    name,
    bytes: sizes.reduce((total, size) => total + size, 0),
    lastUsed: folder.mtime,
    isInUse: await hasUsers(root, name),
  }
}

/** Moves it out of sight first: who looks for it then makes it anew, and who has marked it before gets it back. */
async function remove(root: string, name: string, except?: string): Promise<boolean> {
  if (await hasUsers(root, name, except)) return false
  const away = newBuildPath(root, name)
  try {
    await rename(join(root, name), away)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Another process that tidies up was faster.
    if (code === 'ENOENT') return true
    // A folder of a lower layer of overlayfs, as of a container's image, cannot be renamed.
    if (code !== 'EXDEV') throw error
    await rm(join(root, name), { recursive: true, force: true })
    return true
  }
  if (await hasUsers(root, name, except)) {
    await rename(away, join(root, name)).catch(() => rm(away, { recursive: true, force: true }))
    return false
  }
  await rm(away, { recursive: true, force: true })
  // Not with its content: a process may have marked the entry meanwhile, to make it anew.
  await rmdir(join(root, USERS, name)).catch(() => {})
  return true
}

/** For how long a process of another host or container counts as alive without touching its marker, milliseconds. */
const FOREIGN_USER_MS = 60 * 60_000

/** Whether a process that is alive, but not `except`, uses an entry. The markers of dead processes are removed. */
async function hasUsers(root: string, name: string, except?: string): Promise<boolean> {
  const folder = join(root, USERS, name)
  let found = false
  for (const marker of await readdir(folder).catch(() => [])) {
    if (marker === except) continue
    if (readMarker(folder, marker) === 'abandoned') await rm(join(folder, marker), { force: true })
    else found = true
  }
  return found
}

function readMarker(folder: string, marker: string): Staleness {
  const liveness = livenessOf(marker)
  if (liveness === 'unknown') return readStaleness(join(folder, marker), FOREIGN_USER_MS)
  return liveness === 'alive' ? 'fresh' : 'abandoned'
}
