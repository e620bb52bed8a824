import { accessSync, constants, existsSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { vmError } from '../errors.js'
import { findHomeDir } from './home-dir.js'

/** Cache in the temporary directory, used if the user has no usable home directory. */
export interface TemporaryCache {
  readonly dir: string
  /** Reason why the home directory has no cache, as the end of a sentence. */
  readonly reason: string
}

/**
 * Returns the directory for data that is slow to create: built images, facts about this host.
 * Everything in it can be deleted at any time and is created again.
 *
 * The directory is `WITHVM_CACHE`, else `withvm` in `XDG_CACHE_HOME`, else `~/.cache/withvm`. As
 * the XDG Base Directory Specification requires, a relative `XDG_CACHE_HOME` is ignored. A user
 * without a writable home directory, as in many containers, gets a private folder in the temporary
 * directory.
 *
 * @throws {InfrastructureError} WORKSPACE_FAILED when that folder belongs to another user or is
 *   open to others.
 */
export function resolveCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.WITHVM_CACHE) return resolve(env.WITHVM_CACHE)
  const xdg = env.XDG_CACHE_HOME
  if (xdg && isAbsolute(xdg)) return join(xdg, 'withvm')
  const home = findHomeDir(env)
  const usual = home === undefined ? undefined : join(home, '.cache', 'withvm')
  const known = chosen.get(usual)
  if (known !== undefined) return known.dir
  const reason = usual === undefined ? 'this user has no home directory' : createUsual(usual)
  const cache: Partial<TemporaryCache> & { readonly dir: string } =
    usual !== undefined && reason === undefined ? { dir: usual } : { dir: openTemporaryCache(), reason }
  chosen.set(usual, cache)
  return cache.dir
}

/** Returns the cache in the temporary directory, if that is the one in use. */
export function findTemporaryCache(env: NodeJS.ProcessEnv = process.env): TemporaryCache | undefined {
  const dir = resolveCacheDir(env)
  for (const cache of chosen.values())
    if (cache.dir === dir && cache.reason !== undefined) return { dir, reason: cache.reason }
  return undefined
}

/** Cached result for each home directory, because a warm start needs it several times. */
const chosen = new Map<string | undefined, { readonly dir: string; readonly reason?: string | undefined }>()

/**
 * Creates the cache directory if it does not exist. Returns the reason for a failure, or undefined
 * on success. An existing directory is accepted, even if it is read-only.
 */
function createUsual(usual: string): string | undefined {
  let existing = usual
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing)
  if (existing === usual) return undefined
  try {
    accessSync(existing, constants.W_OK | constants.X_OK)
    // Closed to other users: images of a cache that others can read are never pruned automatically.
    mkdirSync(usual, { recursive: true, mode: 0o700 })
    return undefined
  } catch {
    return `${usual} cannot be created`
  }
}

/**
 * Creates the folder, or verifies that an existing one is a real directory of this user, closed to
 * all others.
 */
function openTemporaryCache(): string {
  const uid = process.geteuid?.()
  const dir = join(tmpdir(), `withvm-cache-${uid ?? 'user'}`)
  try {
    mkdirSync(dir, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw temporaryCacheError(dir, String(error))
  }
  const stats = lstatSync(dir)
  if (!stats.isDirectory()) throw temporaryCacheError(dir, 'something that is not a directory')
  if (uid === undefined) return dir
  if (stats.uid !== uid) throw temporaryCacheError(dir, `a directory of user ${stats.uid}`)
  if ((stats.mode & 0o077) !== 0)
    throw temporaryCacheError(dir, `a directory with mode ${(stats.mode & 0o777).toString(8)}`)
  return dir
}

function temporaryCacheError(dir: string, got: string): Error {
  return vmError('WORKSPACE_FAILED', {
    summary: `The temporary cache ${dir} is unsafe.`,
    expected: 'a directory of this user, with mode 700',
    got,
    hint: 'Set WITHVM_CACHE to a directory of this user.',
  })
}

/**
 * Returns the read-only cache shared by all users of this host: `WITHVM_SHARED_CACHE`. Undefined if
 * not set. A user with write access fills it by setting `WITHVM_CACHE` to it.
 */
export function resolveSharedCacheDir(env: NodeJS.ProcessEnv = process.env): string | undefined {
  return env.WITHVM_SHARED_CACHE ? resolve(env.WITHVM_SHARED_CACHE) : undefined
}
