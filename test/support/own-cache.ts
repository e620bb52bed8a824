import { existsSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { ownEnv } from './own-env.js'
import { ownTmpdir } from './own-tmpdir.js'

/**
 * Lets this test use a cache of its own; one that is not given begins empty. What the usual cache has is read, and what is
 * known of this host is shared. Gives its path.
 */
export function ownCache(cacheDir = ownTmpdir()): string {
  const usual = resolveCacheDir()
  if (!existsSync(join(cacheDir, 'host'))) symlinkSync(join(usual, 'host'), join(cacheDir, 'host'))
  const settings = { WITHVM_CACHE: cacheDir, WITHVM_SHARED_CACHE: usual }
  ownEnv(settings)
  return cacheDir
}
