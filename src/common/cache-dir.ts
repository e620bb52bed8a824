import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

/**
 * The directory where withvm keeps what is slow to make: built images, what it found out about this host.
 * Everything in it can be deleted at any time; it is made again.
 *
 * `WITHVM_CACHE` names it; else it is `withvm` in `XDG_CACHE_HOME`, else `~/.cache/withvm`. As the XDG Base
 * Directory Specification wants, a relative `XDG_CACHE_HOME` does not count.
 */
export function resolveCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.WITHVM_CACHE) return resolve(env.WITHVM_CACHE)
  const xdg = env.XDG_CACHE_HOME
  if (xdg && isAbsolute(xdg)) return join(xdg, 'withvm')
  return join(env.HOME || homedir(), '.cache', 'withvm')
}

/**
 * A cache of all users of this host, from which images are only read: `WITHVM_SHARED_CACHE`. Undefined without one.
 * It is filled by whoever may write to it, with `WITHVM_CACHE` pointing at it.
 */
export function resolveSharedCacheDir(env: NodeJS.ProcessEnv = process.env): string | undefined {
  return env.WITHVM_SHARED_CACHE ? resolve(env.WITHVM_SHARED_CACHE) : undefined
}
