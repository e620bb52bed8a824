import { chmodSync, copyFileSync, linkSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { resolveImage } from '../../src/image/resolve-image.js'

/** A folder for temporary files that other users may go through. Whoever asks for it removes it. */
export function makeOpenFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wt-'))
  chmodSync(folder, 0o755)
  return folder
}

/** Makes a cache in a folder that has the default guest of the usual one, which may be closed to other users. Gives its path. */
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

/** A copy takes time: where both are on one file system, there is none. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch {
    copyFileSync(from, to)
  }
}
