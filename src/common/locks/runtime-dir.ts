import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { resolveCacheDir } from '../cache-dir.js'
import { isSafeParent, statIfVisible } from '../files/safe-parent.js'
import { currentProcess } from './process-identity.js'

const found = new Map<string, string>()

/**
 * Returns a folder for locks and leases, shared by all processes of this user on this host and
 * closed to other users: `withvm` in `XDG_RUNTIME_DIR`, else in `/run/user/UID`, else
 * `/tmp/withvm-UID`, else `run` in the cache directory. A folder is skipped if it belongs to
 * another user, is a link, is open to others, or is on a read-only or full file system. Returns
 * undefined if no candidate is left.
 *
 * @param name subfolder to return; created if missing.
 */
export function openRuntimeDir(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const known = found.get(name)
  if (known !== undefined && isPrivate(known)) return known
  for (const candidate of listCandidates(env)) {
    const dir = join(candidate, name)
    if (!makePrivate(candidate) || !makePrivate(dir) || !canWriteTo(dir)) continue
    found.set(name, dir)
    return dir
  }
  return undefined
}

/** The cache directory is resolved last, because resolving it may throw. */
function* listCandidates(env: NodeJS.ProcessEnv): Generator<string> {
  const uid = process.geteuid?.()
  if (uid === undefined) return yield join(tmpdir(), 'withvm-run')
  // "If an implementation encounters a relative path [...] it should consider the path invalid"
  // (XDG Base Directory Specification).
  const runtime = env.XDG_RUNTIME_DIR ?? ''
  if (isAbsolute(runtime)) yield join(runtime, 'withvm')
  yield `/run/user/${uid}/withvm`
  yield `/tmp/withvm-${uid}`
  const cacheDir = resolveCacheDir(env)
  makeFolder(cacheDir)
  yield join(cacheDir, 'run')
}

function makeFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true })
  } catch {
    // Its subfolder is then not found either.
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

/** Tests by writing data, as a lock does: a full file system may accept an empty file. */
function canWriteTo(dir: string): boolean {
  const file = join(dir, `.check-${currentProcess()}`)
  try {
    writeFileSync(file, 'held', { mode: 0o600 })
    return true
  } catch {
    return false
  } finally {
    removeQuietly(file)
  }
}

function removeQuietly(file: string): void {
  try {
    rmSync(file, { force: true })
  } catch {
    // On a read-only file system it was not created.
  }
}

/** Returns true if a path is a real folder that belongs to this user and is closed to others. */
function isPrivate(dir: string): boolean {
  const stat = statIfVisible(dir)
  const uid = process.geteuid?.()
  if (stat?.isDirectory() !== true) return false
  return uid === undefined || (stat.uid === uid && (stat.mode & 0o077) === 0)
}
