import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hashInputs } from './cache.js'
import { hashFile } from './entry-manifest.js'

/** Folder next to the images with a file for each known digest. */
const DIGESTS = '.digests'

/**
 * Returns the SHA-256 of a file, in hexadecimal. A file whose change time (ctime) is unchanged is
 * not read again.
 */
export async function digestFile(path: string, images: string): Promise<string> {
  const memo = join(images, DIGESTS, hashInputs(path))
  const state = await readFileIdentity(path)
  const known = await readMemo(memo)
  if (known?.key === state) return known.sha256
  const sha256 = await hashFile(path)
  // A file that changed during the computation has no valid digest.
  if ((await readFileIdentity(path)) === state) await writeMemo(memo, { key: state, sha256 })
  return sha256
}

interface Memo {
  readonly key: string
  readonly sha256: string
}

async function readFileIdentity(path: string): Promise<string> {
  const { dev, ino, size, ctimeNs } = await stat(path, { bigint: true })
  return [path, dev, ino, size, ctimeNs].join(' ')
}

async function readMemo(path: string): Promise<Memo | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Memo
  } catch {
    return undefined
  }
}

/** Stores a digest. If that fails, it is computed again next time. */
async function writeMemo(path: string, memo: Memo): Promise<void> {
  try {
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(`${path}.${process.pid}`, JSON.stringify(memo))
    await rename(`${path}.${process.pid}`, path)
  } catch {}
}
