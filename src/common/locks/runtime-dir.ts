import { lstatSync, mkdirSync, type Stats } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { resolveCacheDir } from '../cache-dir.js'

const found = new Map<string, string>()

/**
 * Returns a folder for locks and leases that all processes of this user on this host share, and that no other user can reach into:
 * `withvm` in `XDG_RUNTIME_DIR`, else in `/run/user/UID`, else `/tmp/withvm-UID`, else `run` in the cache directory. A folder that another
 * user made, a link, or one that others may enter is passed over. Undefined where there is none.
 *
 * @param name the part of it that is wanted; created if missing.
 */
export function openRuntimeDir(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const known = found.get(name)
  if (known !== undefined && isPrivate(known)) return known
  for (const candidate of listCandidates(env)) {
    if (candidate === cacheRunDir(env)) makeFolder(dirname(candidate))
    const dir = join(candidate, name)
    if (!makePrivate(candidate) || !makePrivate(dir)) continue
    found.set(name, dir)
    return dir
  }
  return undefined
}

function listCandidates(env: NodeJS.ProcessEnv): string[] {
  const uid = process.geteuid?.()
  if (uid === undefined) return [join(tmpdir(), 'withvm-run')]
  const runtime = env.XDG_RUNTIME_DIR ? [env.XDG_RUNTIME_DIR] : []
  return [
    ...[...runtime, `/run/user/${uid}`].map((dir) => join(dir, 'withvm')),
    `/tmp/withvm-${uid}`,
    cacheRunDir(env),
  ]
}

function cacheRunDir(env: NodeJS.ProcessEnv): string {
  return join(resolveCacheDir(env), 'run')
}

function makeFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true })
  } catch {
    // Then what would be in it is not found either.
  }
}

function makePrivate(dir: string): boolean {
  if (!isSafeParent(dirname(dir))) return false
  try {
    mkdirSync(dir, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
  }
  return isPrivate(dir)
}

/** Whether a path is a real folder, ours, and closed to everybody else. */
function isPrivate(dir: string): boolean {
  const stat = lookAt(dir)
  const uid = process.geteuid?.()
  if (stat?.isDirectory() !== true) return false
  return uid === undefined || (stat.uid === uid && (stat.mode & 0o077) === 0)
}

/** Whether nobody else can put another folder in the place of ours. */
function isSafeParent(dir: string): boolean {
  const stat = lookAt(dir)
  const uid = process.geteuid?.()
  if (stat === undefined) return false
  if (uid === undefined) return true
  if (stat.isSymbolicLink() || !stat.isDirectory()) return false
  const isOpen = (stat.mode & 0o022) !== 0
  return [0, uid].includes(stat.uid) && (!isOpen || (stat.mode & 0o1000) !== 0)
}

/** Undefined also for what this user cannot look at: a process can change its user. */
function lookAt(dir: string): Stats | undefined {
  try {
    return lstatSync(dir)
  } catch {
    return undefined
  }
}
