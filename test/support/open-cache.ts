import { chmodSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { resolveImage } from '../../src/image/resolve-image.js'

/** Makes a temporary folder that other users can enter. The caller removes it. */
export function makeOpenFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wt-'))
  chmodSync(folder, 0o755)
  return folder
}

/** Makes a cache with the default image, because other users may not be able to read the usual cache. Returns its path. */
export async function makeOpenCache(folder: string): Promise<string> {
  const { directBoot } = await resolveImage('tiny')
  const entry = dirname(directBoot?.kernel ?? '')
  const cache = join(folder, 'cache')
  const to = join(cache, 'images', basename(entry))
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(entry)) linkOrCopy(join(entry, name), join(to, name))
  symlinkSync(join(resolveCacheDir(), 'host'), join(cache, 'host'))
  return cache
}

/** Links a file if both paths are on one file system, which is faster than a copy. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch {
    copyFileSync(from, to)
  }
}
