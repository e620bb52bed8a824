import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hashInputs } from './cache.js'
import { hashFile } from './entry-manifest.js'

/** Beside the images: a file for each whose digest is known. */
const DIGESTS = '.digests'

/**
 * The sha256 of a file, in hexadecimal. A file that has not changed since, by the file system's own account, is not read again.
 */
export async function digestFile(path: string, images: string): Promise<string> {
  const memo = join(images, DIGESTS, hashInputs(path))
  const key = await identify(path)
  const known = await readMemo(memo)
  if (known?.key === key) return known.sha256
  const sha256 = await hashFile(path)
  // One that changed meanwhile has no digest.
  if ((await identify(path)) === key) await writeMemo(memo, { key, sha256 })
  return sha256
}

interface Memo {
  readonly key: string
  readonly sha256: string
}

async function identify(path: string): Promise<string> {
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

/** What cannot be noted is found out again. */
async function writeMemo(path: string, memo: Memo): Promise<void> {
  try {
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(`${path}.${process.pid}`, JSON.stringify(memo))
    await rename(`${path}.${process.pid}`, path)
  } catch {}
}
