import { mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { ownCache } from './own-cache.js'
import { ownTmpdir } from './own-tmpdir.js'

/** Sets a cache for this test that has the images of the usual one and no templates. Returns its path. */
export function ownTemplates(cacheDir = ownTmpdir()): string {
  const usual = resolveCacheDir()
  symlinkSync(join(usual, 'images'), join(cacheDir, 'images'))
  mkdirSync(join(cacheDir, 'templates'))
  return ownCache(cacheDir)
}

/** Lists the folders of the templates in a cache. */
export function templatesIn(cacheDir: string): string[] {
  const root = join(cacheDir, 'templates')
  return readdirSync(root)
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(root, name))
}
