import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { resolveCacheDir } from '../common/cache-dir.js'
import { nearestNames } from '../common/nearest-name.js'
import { findLockRealm, tryProcessLock } from '../common/process-lock.js'
import { vmError } from '../errors.js'
import { parseMemorySize } from '../spec/units.js'

export const TEMPLATES = 'templates'
/** Beside the templates: for each a folder with a file for each process that uses it. */
const USERS = '.users'
/** What all templates of this user may take on the disk, unless `WITHVM_TEMPLATES_SIZE` says otherwise. */
const DEFAULT_MOST_BYTES = 8 * 1024 ** 3

export interface TemplateInfo {
  readonly name: string
  /** What it takes on the disk: its RAM file has holes. */
  readonly bytes: number
  readonly lastUsed: Date
  /** Whether a process that runs has guests of it, or had. */
  readonly isInUse: boolean
}

const used = new Set<string>()

/**
 * Notes that this process has guests of a template, until it ends: nobody removes it meanwhile. Call it before looking for
 * the template: what is removed then is removed before it is found.
 */
export async function markUsed(name: string, cacheDir = resolveCacheDir()): Promise<void> {
  const folder = join(cacheDir, TEMPLATES, USERS, name)
  try {
    await mkdir(folder, { recursive: true })
    const now = new Date()
    await utimes(folder, now, now)
    if (used.has(folder)) return
    const marker = `${findLockRealm()}-${randomBytes(6).toString('hex')}`
    // The lock goes with the process, in whatever way that ends.
    await tryProcessLock(lockName(marker))
    await writeFile(join(folder, marker), '')
    used.add(folder)
  } catch {
    // A cache that cannot be written to is not tidied up either.
  }
}

/** All templates of the cache, the one that was used last first. */
export async function listTemplates(cacheDir = resolveCacheDir()): Promise<TemplateInfo[]> {
  const root = join(cacheDir, TEMPLATES)
  const names = (await readdir(root).catch(() => [])).filter((name) => !name.startsWith('.'))
  const infos = await Promise.all(names.map((name) => inspect(root, name).catch(() => undefined)))
  return infos
    .filter((info) => info !== undefined)
    .sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime())
}

/**
 * Removes templates.
 *
 * @throws {UsageError} INVALID_OPTIONS when there is none of a name; nothing is removed then.
 * @throws {InfrastructureError} TEMPLATE_IN_USE when a running process has guests of one; the others are removed.
 */
export async function removeTemplates(names: readonly string[], cacheDir = resolveCacheDir()): Promise<void> {
  const known = (await listTemplates(cacheDir)).map(({ name }) => name)
  for (const name of names) if (!known.includes(name)) throw unknown(name, known)
  const kept = []
  for (const name of names) if (!(await remove(cacheDir, name))) kept.push(name)
  if (kept.length > 0) throw inUse(kept)
}

/**
 * Removes those that were not used for longest, until the others take no more than `mostBytes`. Those in use stay.
 * @returns the names of those that were removed.
 */
export async function pruneTemplates(
  options: { readonly cacheDir?: string; readonly mostBytes?: number; readonly keep?: string } = {},
): Promise<string[]> {
  const { cacheDir = resolveCacheDir(), mostBytes = readMostBytes(), keep } = options
  const templates = await listTemplates(cacheDir)
  let bytes = templates.reduce((total, template) => total + template.bytes, 0)
  const removed: string[] = []
  for (const template of templates.reverse()) {
    if (bytes <= mostBytes) break
    if (template.isInUse || template.name === keep || !(await remove(cacheDir, template.name))) continue
    bytes -= template.bytes
    removed.push(template.name)
  }
  return removed
}

function readMostBytes(): number {
  return parseMemorySize(process.env.WITHVM_TEMPLATES_SIZE) ?? DEFAULT_MOST_BYTES
}

async function inspect(root: string, name: string): Promise<TemplateInfo> {
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
async function remove(cacheDir: string, name: string): Promise<boolean> {
  const root = join(cacheDir, TEMPLATES)
  const away = join(root, `.build-${findLockRealm()}-${name}-${process.pid}-${Date.now()}`)
  await rename(join(root, name), away)
  if (await hasUsers(root, name)) {
    await rename(away, join(root, name)).catch(() => rm(away, { recursive: true, force: true }))
    return false
  }
  await rm(away, { recursive: true, force: true })
  await rm(join(root, USERS, name), { recursive: true, force: true })
  return true
}

/** Those of processes that have ended are removed. Of another container's it cannot be told: they count for a day. */
async function hasUsers(root: string, name: string): Promise<boolean> {
  const folder = join(root, USERS, name)
  let found = false
  for (const marker of await readdir(folder).catch(() => [])) {
    if (await isAlive(folder, marker)) found = true
    else await rm(join(folder, marker), { force: true })
  }
  return found
}

const FOREIGN_MS = 24 * 60 * 60 * 1000

async function isAlive(folder: string, marker: string): Promise<boolean> {
  if (!marker.startsWith(`${findLockRealm()}-`)) {
    const { mtimeMs } = await stat(join(folder, marker))
    return mtimeMs > Date.now() - FOREIGN_MS
  }
  const lock = await tryProcessLock(lockName(marker))
  await lock?.release()
  return lock === undefined
}

function lockName(marker: string): string {
  return `template-user-${marker}`
}

function unknown(name: string, known: readonly string[]) {
  const near = nearestNames(name, known)
  return vmError('INVALID_OPTIONS', {
    summary: `There is no template '${name}'.`,
    expected:
      near.length > 0 ? near.map((one) => `'${one}'`).join(' or ') : known.join(', ') || '(there is none)',
    got: `'${name}'`,
    hint: '`withvm templates ls` shows those that are there.',
  })
}

function inUse(names: readonly string[]) {
  return vmError('TEMPLATE_IN_USE', {
    summary: `A process that is running has guests of ${names.map((name) => `'${name}'`).join(', ')}.`,
    hint: 'wait until it has ended (`pgrep -f qemu-system` finds its guests), and try again.',
  })
}
