import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { resolveCacheDir } from '../common/cache-dir.js'

const FOLDER = 'refused-templates'
/** Time after which a template is tried again, in milliseconds: withvm may have changed. */
const VALID_MS = 7 * 24 * 3600 * 1000
const MAX_REASON_CHARS = 1000

/**
 * Records in the cache that a guest cannot become a template. Without the record, each process
 * would boot it twice. Errors are ignored, because the record only saves time.
 */
export async function noteRefusal(request: string, reason: string): Promise<void> {
  const path = pathOf(request)
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 }).catch(() => {})
  await writeFile(path, reason.slice(0, MAX_REASON_CHARS), { mode: 0o600 }).catch(() => {})
}

/** Returns why this template was refused before; undefined if it may be tried. */
export async function findRefusal(request: string): Promise<string | undefined> {
  const path = pathOf(request)
  try {
    if (Date.now() - (await stat(path)).mtimeMs > VALID_MS) return undefined
    const reason = await readFile(path, 'utf8')
    return reason === '' ? undefined : reason
  } catch {
    return undefined
  }
}

function pathOf(request: string): string {
  return join(resolveCacheDir(), FOLDER, request)
}
