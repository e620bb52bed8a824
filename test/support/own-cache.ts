import { existsSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { ownEnv } from './own-env.js'
import { ownTmpdir } from './own-tmpdir.js'

/**
 * Sets a separate cache for this test, by default an empty one. The usual cache is used read-only, and its facts about this
 * host are shared. Returns the path of the cache.
 */
export function ownCache(cacheDir = ownTmpdir()): string {
  const usual = resolveCacheDir()
  if (!existsSync(join(cacheDir, 'host'))) symlinkSync(join(usual, 'host'), join(cacheDir, 'host'))
  const settings = { WITHVM_CACHE: cacheDir, WITHVM_SHARED_CACHE: usual }
  ownEnv(settings)
  return cacheDir
}
